import type { NestedContext, NestedReport, NestedVerdict } from '@nestvm/cpu';
import { GRACE_NS, isEmptyRoot, nestedGuestIsGone, QUIET_NS } from '@nestvm/cpu';
import { EFER, GUEST_MODE } from '@nestvm/cpu/extension';
import type { SvmContext } from './context.js';
import { exitCodeName } from './exits/codes.js';
import { Vmcb } from './vmcb/layout.js';
import { SMM_GUEST, VMCB_ADDRESS } from './words.js';

const SVME = 1 << 12;
const PRESENT = 1;
/** The VMRUN intercept, which every VMCB must have: bit 0 of the intercepts 80h-9Fh. */
const VMRUN_INTERCEPT = 1;

/** Why the page can't be a VMCB any more: VMRUN of it would fail. */
function implausible(svm: SvmContext, context: NestedContext): string | null {
  const page = svm.page(context.pa | 0, Math.floor(context.pa / 4294967296) | 0);
  if (page < 0) return 'its page is no memory any more';
  const { i32 } = svm;
  if ((i32[page + Vmcb.INTERCEPTS + 1]! & VMRUN_INTERCEPT) === 0) return 'its page no longer intercepts VMRUN';
  if (i32[page + Vmcb.ASID] === 0) return 'its ASID is 0 now';
  if ((i32[page + Vmcb.EFER]! & SVME) === 0) return 'its EFER.SVME is 0 now';
  const isBeyond = (base: number): boolean => (i32[page + base + 1]! & ~svm.cpu.features.physicalHighMask) !== 0;
  if (isBeyond(Vmcb.IOPM_BASE) || isBeyond(Vmcb.MSRPM_BASE)) return 'its permission maps lie beyond physical addresses now';
  return null;
}

/** EFER.SVME is set on this vCPU. */
export const isOn = ({ cpu }: SvmContext): boolean => (cpu.w[EFER]! & SVME) !== 0;

/** SVM is off on every CPU. */
function off(emptyRoot: boolean, quietNs: number): NestedVerdict {
  if (emptyRoot || quietNs >= GRACE_NS) return { class: 'off', why: 'EFER.SVME is clear on every CPU.', clearsWhen: '' };
  return {
    class: 'parked',
    why: 'EFER.SVME was cleared a moment ago; some hypervisors turn SVM off between two runs of a living L2.',
    clearsWhen: 'It clears by itself two seconds of guest time after its last exit.',
  };
}

function judge(svm: SvmContext, context: NestedContext, nowNs: number, anywhere: boolean): NestedVerdict {
  const { cpu } = svm;
  const { w } = cpu;
  const current = (w[VMCB_ADDRESS + 1]! >>> 0) * 4294967296 + (w[VMCB_ADDRESS]! >>> 0) === context.pa;
  if (current && (w[GUEST_MODE] !== 0 || w[SMM_GUEST] !== 0))
    return { class: 'executing', why: `CPU ${cpu.index} is in guest mode: its L2 runs right now.`, clearsWhen: 'It ends when L2 shuts down.' };
  const reason = implausible(svm, context);
  if (reason !== null) return nestedGuestIsGone(`VMRUN of it would fail: ${reason}, so its page was used for something else.`);
  const quietNs = nowNs - context.lastExitNs;
  const emptyRoot = isEmptyRoot((address) => svm.memory.read32(address), context.root, PRESENT);
  if (!anywhere) return off(emptyRoot, quietNs);
  if (emptyRoot && quietNs >= QUIET_NS)
    return nestedGuestIsGone('Its nested page table has had no entry for a second, so nothing can execute under it.');
  return {
    class: 'resident',
    why: `It was entered on CPU ${context.activeOn} and SVM is still on${isOn(svm) ? '' : ' on another one'}, so VMRUN can continue it at any time.`,
    clearsWhen:
      'It ends when its hypervisor shuts the guest down: an empty nested page table for a second, its page used for something else, or EFER.SVME cleared on all CPUs.',
  };
}

/** Judges every VMCB that this vCPU has entered; `anywhere`: EFER.SVME is set on some vCPU of the machine. */
export function inspectActivity(svm: SvmContext, anywhere: boolean): readonly NestedReport[] {
  const nowNs = svm.cpu.clock.nowNs();
  return svm.ledger.report(svm.cpu.index, nowNs, exitCodeName, (context) => judge(svm, context, nowNs, anywhere));
}
