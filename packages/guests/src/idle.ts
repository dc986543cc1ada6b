import { Layout, Variable } from './layout.js';
import { EFER } from './long-mode.js';
import type { LevelOptions } from './programs.js';

/** What a hypervisor leaves of its guest's context on the processor while the guest waits. */
export type Idle = NonNullable<LevelOptions['idle']>;

/** Assembly of both ends of a guest's wait. */
interface Waiting {
  readonly before: string;
  readonly after: string;
}

const instruction = (name: string, address: number): string => `push ${address}\n ${name} qword ptr [rsp]\n pop rax`;

const VMCLEAR = `${instruction('vmclear', Layout.CONTROL_01)}\n mov qword ptr [${Variable.LAUNCHED}], 0`;
const VMPTRLD = instruction('vmptrld', Layout.CONTROL_01);

const EFER_SVME = 0x1000;
const changeEfer = (change: string): string => `mov ecx, ${EFER}\n rdmsr\n ${change}\n wrmsr`;

/** VMX: VMCLEAR as bhyve does at each return to user mode; VMXOFF as VirtualBox does where it shares the processor with others. */
export const vmxWaiting: Readonly<Record<Idle, Waiting>> = {
  resident: { before: '', after: '' },
  cleared: { before: VMCLEAR, after: VMPTRLD },
  off: { before: `${VMCLEAR}\n vmxoff`, after: `${instruction('vmxon', Layout.HOST_AREA)}\n ${VMPTRLD}` },
};

/** SVM has no VMCLEAR: EFER.SVME is all that there is. */
export const svmWaiting: Readonly<Record<Idle, Waiting>> = {
  resident: { before: '', after: '' },
  cleared: { before: '', after: '' },
  off: { before: changeEfer(`and eax, ${~EFER_SVME}`), after: changeEfer(`or eax, ${EFER_SVME}`) },
};
