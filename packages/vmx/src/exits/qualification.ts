import { ENTRY_FAILURE, ExitReason } from '../transitions/reasons.js';

/** A field of an exit qualification: name, lowest bit, width, and names of its values. Without names it prints as a number. */
export type QualificationField = readonly [name: string, bit: number, width: number, values?: readonly string[]];

const YES = ['', 'yes'] as const;
const GPRS = ['RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI', 'R8', 'R9', 'R10', 'R11', 'R12', 'R13', 'R14', 'R15'] as const;

/** A qualification that is one number: a linear address, an offset. */
const whole = (name: string): readonly QualificationField[] => [[name, 0, 64]];

/** What the exit qualification of each basic exit reason holds (SDM Vol. 3, "Exit Qualification"); reasons that are not here leave it zero. */
export const qualificationLayouts: Readonly<Partial<Record<keyof typeof ExitReason, readonly QualificationField[]>>> = {
  EXCEPTION_OR_NMI: whole('linear address of #PF, or DR6 bits of #DB'),
  SIPI: [['vector', 0, 8]],
  TASK_SWITCH: [
    ['TSS selector', 0, 16],
    ['source', 30, 2, ['CALL', 'IRET', 'JMP', 'task gate in the IDT']],
  ],
  INVLPG: whole('linear address'),
  WRMSR: [['by', 0, 1, ['', 'WRMSRNS']]],
  RDMSRLIST: whole('MSR'),
  WRMSRLIST: whole('MSR'),
  URDMSR: whole('MSR'),
  UWRMSR: whole('MSR'),
  RDMSR_IMM: whole('MSR'),
  WRMSRNS_IMM: whole('MSR'),
  CONTROL_REGISTER: [
    ['CR', 0, 4],
    ['access', 4, 2, ['MOV to CR', 'MOV from CR', 'CLTS', 'LMSW']],
    ['LMSW operand', 6, 1, ['register', 'memory']],
    ['register', 8, 4, GPRS],
    ['LMSW source', 16, 16],
  ],
  MOV_DR: [
    ['DR', 0, 3],
    ['direction', 4, 1, ['MOV to DR', 'MOV from DR']],
    ['register', 8, 4, GPRS],
  ],
  IO: [
    ['bytes − 1', 0, 3],
    ['direction', 3, 1, ['OUT', 'IN']],
    ['string', 4, 1, YES],
    ['REP', 5, 1, YES],
    ['operand', 6, 1, ['DX', 'immediate']],
    ['port', 16, 16],
  ],
  ENTRY_GUEST_STATE: [['kind', 0, 3, ['', '', 'PDPTE', 'NMI while STI blocks', 'VMCS link pointer']]],
  ENTRY_MSR_LOADING: [['entry of the list', 0, 32]],
  MWAIT: [['monitor armed', 0, 1, YES]],
  APIC_ACCESS: [
    ['offset', 0, 12],
    ['access', 12, 4, ['read', 'write', 'instruction fetch', 'event delivery', 'monitoring']],
  ],
  VIRTUALIZED_EOI: [['vector', 0, 8]],
  APIC_WRITE: [['offset', 0, 12]],
  GDTR_OR_IDTR: whole('displacement'),
  LDTR_OR_TR: whole('displacement'),
  EPT_VIOLATION: [
    ['read', 0, 1, YES],
    ['write', 1, 1, YES],
    ['fetch', 2, 1, YES],
    ['readable', 3, 1, YES],
    ['writable', 4, 1, YES],
    ['executable', 5, 1, YES],
    ['user-executable', 6, 1, YES],
    ['linear address valid', 7, 1, YES],
    ['final access (not a guest page table)', 8, 1, YES],
    ['user-mode page', 9, 1, YES],
    ['writable page', 10, 1, YES],
    ['no-execute page', 11, 1, YES],
    ['NMI unblocking', 12, 1, YES],
    ['shadow stack', 13, 1, YES],
    ['guest-paging verification', 15, 1, YES],
  ],
  INVEPT: whole('displacement'),
  INVVPID: whole('displacement'),
  INVPCID: whole('displacement'),
  PAGE_LOG_FULL: [['NMI unblocking', 12, 1, YES]],
  XSAVES: whole('displacement'),
  XRSTORS: whole('displacement'),
  SPP: [
    ['kind', 11, 1, ['misconfiguration', 'miss']],
    ['NMI unblocking', 12, 1, YES],
  ],
};

const reasonNames: readonly (keyof typeof ExitReason | undefined)[] = (() => {
  const names: (keyof typeof ExitReason | undefined)[] = [];
  for (const [name, reason] of Object.entries(ExitReason)) names[reason] = name as keyof typeof ExitReason;
  return names;
})();

/** Name of a basic exit reason (bits 15:0 of the exit reason), or `reason N`. */
export const exitReasonName = (reason: number): string => reasonNames[reason & 0xffff] ?? `reason ${reason & 0xffff}`;

const hex = (value: number): string => (value >>> 0).toString(16);

function fieldText([name, bit, width, values]: QualificationField, lo: number, hi: number): string {
  if (width === 64) return `${name} 0x${hi === 0 ? hex(lo) : hex(hi) + hex(lo).padStart(8, '0')}`;
  const value = (width === 32 ? lo : (lo >>> bit) & (2 ** width - 1)) >>> 0;
  const text = values?.[value];
  if (values === YES) return value === 0 ? '' : name;
  if (text === '') return '';
  return `${name} ${text ?? (value < 10 ? String(value) : `0x${hex(value)}`)}`;
}

/** An exit in words: the name of its reason, and what its qualification (two int32 halves) says. */
export function describeExit(reason: number, qualificationLo: number, qualificationHi: number): string {
  const name = reasonNames[reason & 0xffff];
  const failed = (reason & ENTRY_FAILURE) === 0 ? '' : 'VM entry failed, ';
  const layout = name === undefined ? undefined : qualificationLayouts[name];
  const parts = (layout ?? []).map((field) => fieldText(field, qualificationLo, qualificationHi)).filter((part) => part !== '');
  return `${failed}${exitReasonName(reason)}${parts.length === 0 ? '' : ` (${parts.join(', ')})`}`;
}
