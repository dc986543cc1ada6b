import type { NestedContext, NestedReport, NestedVerdict } from '@nestvm/cpu';
import { isEmptyRoot, nestedGuestIsGone, QUIET_NS } from '@nestvm/cpu';
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
  return null;
}

function judge(svm: SvmContext, context: NestedContext, nowNs: number): NestedVerdict {
  const { cpu } = svm;
  const { w } = cpu;
  const current = (w[VMCB_ADDRESS + 1]! >>> 0) * 4294967296 + (w[VMCB_ADDRESS]! >>> 0) === context.pa;
  if (current && (w[GUEST_MODE] !== 0 || w[SMM_GUEST] !== 0))
    return { class: 'executing', why: `CPU ${cpu.index} is in guest mode: its L2 runs right now.`, clearsWhen: 'It ends when L2 shuts down.' };
  if ((w[EFER]! & SVME) === 0) return { class: 'off', why: `EFER.SVME is clear on CPU ${cpu.index}.`, clearsWhen: '' };
  const reason = implausible(svm, context);
  if (reason !== null) return nestedGuestIsGone(`VMRUN of it would fail: ${reason}, so its page was used for something else.`);
  const quiet = nowNs - context.lastExitNs >= QUIET_NS;
  if (quiet && isEmptyRoot((address) => svm.memory.read32(address), context.root, PRESENT))
    return nestedGuestIsGone('Its nested page table has had no entry for a second, so nothing can execute under it.');
  return {
    class: 'resident',
    why: `It was entered on CPU ${context.activeOn} and SVM is still on, so VMRUN can continue it at any time.`,
    clearsWhen:
      'It ends when its hypervisor shuts the guest down: an empty nested page table for a second, its page used for something else, or EFER.SVME cleared.',
  };
}

/** Judges every VMCB that this vCPU has entered. */
export function inspectActivity(svm: SvmContext): readonly NestedReport[] {
  const nowNs = svm.cpu.clock.nowNs();
  return svm.ledger.report(svm.cpu.index, nowNs, exitCodeName, (context) => judge(svm, context, nowNs));
}
