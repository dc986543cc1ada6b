import type { NestedContext, NestedReport, NestedVerdict } from '@nestvm/cpu';
import { GRACE_NS, isEmptyRoot, nestedGuestIsGone, QUIET_NS } from '@nestvm/cpu';
import { GUEST_MODE, SMM } from '@nestvm/cpu/extension';
import type { Vmx } from './vmx.js';

const REGION_WORDS = 1024;
/** An EPT entry is present when any of its read, write and execute bits is set. */
const EPT_PRESENT = 7;

/** Hash of a VMCS region, by which a later look tells whether software has overwritten it. */
function regionHash(vmx: Vmx, address: number): number {
  const first = vmx.wordsAt(address);
  let hash = 0x811c9dc5;
  for (let word = first; word < first + REGION_WORDS; word++) hash = Math.imul(hash ^ vmx.i32[word]!, 0x01000193);
  return hash;
}

/** A context that is launched on the CPU, which is in VMX operation. */
function resident(context: NestedContext, emptyRoot: boolean, quietNs: number): NestedVerdict {
  if (emptyRoot && quietNs >= QUIET_NS) return nestedGuestIsGone('Its EPT root has had no entry for a second, so nothing can execute under it.');
  return {
    class: 'resident',
    why: `It was launched on CPU ${context.activeOn}, which is in VMX operation, so VMRESUME can continue it at any time.`,
    clearsWhen: 'It ends when its hypervisor shuts the guest down: VMCLEAR and an empty EPT root, or VMXOFF.',
  };
}

const hasEmptyRoot = (vmx: Vmx, { root }: NestedContext): boolean => isEmptyRoot((address) => vmx.memory.read32(address), root, EPT_PRESENT);

const CLEARED_AND_EMPTY = nestedGuestIsGone('It was cleared, and its EPT root is empty: its guest is gone.');

/** VMCLEAR of a VMCS. Whether its EPT root is empty is seen now: L1 gives the page back soon, and others write to it. */
export function noteClear(vmx: Vmx, address: number): void {
  const context = vmx.ledger.find(address);
  if (context === undefined) return;
  context.launched = false;
  context.activeOn = -1;
  context.clearedNs = vmx.cpu.clock.nowNs();
  context.clearedHash = regionHash(vmx, address);
  if (hasEmptyRoot(vmx, context)) vmx.ledger.close(context, CLEARED_AND_EMPTY);
}

/** A context that VMCLEAR or VMXOFF has put aside. */
function parked(vmx: Vmx, context: NestedContext, emptyRoot: boolean, nowNs: number, anywhere: boolean): NestedVerdict {
  if (emptyRoot) return CLEARED_AND_EMPTY;
  if (context.clearedNs >= 0 && regionHash(vmx, context.pa) !== context.clearedHash)
    return nestedGuestIsGone('It was cleared, and its page has been overwritten since.');
  if (!anywhere) {
    if (nowNs - context.lastExitNs >= GRACE_NS) return { class: 'off', why: 'VMXOFF has ended VMX operation on every CPU.', clearsWhen: '' };
    return {
      class: 'parked',
      why: 'VMXOFF came a moment ago; some hypervisors leave VMX operation between two runs of a living L2.',
      clearsWhen: 'It clears by itself two seconds of guest time after its last exit.',
    };
  }
  return {
    class: 'parked',
    why: context.launched
      ? 'VMX operation has ended on its CPU, but not on all others, which could go on with it.'
      : 'VMCLEAR has put it aside, as hypervisors do when they move a vCPU to another CPU.',
    clearsWhen: 'It clears when its EPT root is empty, when its page is used for something else, or on VMXOFF of all CPUs.',
  };
}

function judge(vmx: Vmx, context: NestedContext, nowNs: number, anywhere: boolean): NestedVerdict {
  const { cpu } = vmx;
  if (context === vmx.context && cpu.w[GUEST_MODE] !== 0) {
    const smm = cpu.w[SMM] !== 0 ? ' (in SMM)' : '';
    return {
      class: 'executing',
      why: `CPU ${cpu.index} is in VMX non-root operation${smm}: its L2 runs right now.`,
      clearsWhen: 'It ends when L2 shuts down.',
    };
  }
  const emptyRoot = hasEmptyRoot(vmx, context);
  if (context.launched && context.activeOn === cpu.index && vmx.on) return resident(context, emptyRoot, nowNs - context.lastExitNs);
  return parked(vmx, context, emptyRoot, nowNs, anywhere);
}

/** Judges every VMCS that this vCPU has entered; `anywhere`: some vCPU of the machine is in VMX operation. */
export function inspectActivity(vmx: Vmx, anywhere: boolean): readonly NestedReport[] {
  const nowNs = vmx.cpu.clock.nowNs();
  return vmx.ledger.report(
    vmx.cpu.index,
    nowNs,
    (reason) => `${vmx.exitName(reason)} (${reason})`,
    (context) => judge(vmx, context, nowNs, anywhere),
  );
}
