import { ACTIVITY, EventKind, GUEST_MODE, INTERRUPTIBILITY, MODE, RIP, recentNs, Shadow } from '@nestvm/cpu/extension';
import { Mode } from '@nestvm/isa';
import type { SvmContext } from '../context.js';
import { ExitCode, exitCodeName, exitIndex } from '../exits/codes.js';
import { NestedControl, VMCB_BYTES, Vmcb } from '../vmcb/layout.js';
import { VMCB_ADDRESS } from '../words.js';
import { storeBranches } from './branches.js';
import { storeGuest } from './guest-state.js';
import { restoreHost } from './host-state.js';

const SHUTDOWN = 2;
const SOFTWARE_EXCEPTION = EventKind.SOFTWARE_EXCEPTION as number;
const PRIVILEGED = EventKind.PRIVILEGED_SOFTWARE_EXCEPTION as number;

/** What is being delivered, in the format of EXITINTINFO: its types know no software exceptions apart. */
function intInfo(vectoring: number): number {
  const kind = (vectoring >>> 8) & 7;
  if (kind !== SOFTWARE_EXCEPTION && kind !== PRIVILEGED) return vectoring;
  return (vectoring & ~(7 << 8)) | (EventKind.EXCEPTION << 8);
}

/** Stores RIP + `length` as nRIP, or 0. */
function storeNextRip(svm: SvmContext, length: number): void {
  const { w } = svm.cpu;
  const at = svm.vmcb + Vmcb.NEXT_RIP;
  if (length === 0 || !svm.features.nrips) {
    svm.i32[at] = 0;
    svm.i32[at + 1] = 0;
    return;
  }
  const lo = (w[RIP]! + length) | 0;
  svm.i32[at] = lo;
  svm.i32[at + 1] = (w[MODE]! & Mode.LONG) !== 0 ? w[RIP + 1]! + (lo >>> 0 < length ? 1 : 0) : 0;
}

/** Guest physical address of the VMCB in force. */
const vmcbAddress = (svm: SvmContext): number => (svm.cpu.w[VMCB_ADDRESS + 1]! >>> 0) * 4294967296 + (svm.cpu.w[VMCB_ADDRESS]! >>> 0);

/** Stores the control area's half of an exit. */
function storeExit(svm: SvmContext, code: number, length: number, info1Lo: number, info1Hi: number, info2Lo: number, info2Hi: number): void {
  const { i32, cpu, vmcb: v } = svm;
  i32[v + Vmcb.EXIT_CODE] = code;
  i32[v + Vmcb.EXIT_CODE + 1] = code < 0 ? -1 : 0;
  i32[v + Vmcb.EXIT_INFO1] = info1Lo;
  i32[v + Vmcb.EXIT_INFO1 + 1] = info1Hi;
  i32[v + Vmcb.EXIT_INFO2] = info2Lo;
  i32[v + Vmcb.EXIT_INFO2 + 1] = info2Hi;
  i32[v + Vmcb.EXIT_INT_INFO] = intInfo(cpu.vectoring);
  i32[v + Vmcb.EXIT_INT_INFO + 1] = cpu.vectoring !== 0 ? cpu.vectoringError : 0;
  // A software event that was being delivered is injected again past its instruction.
  storeNextRip(svm, cpu.vectoring !== 0 ? cpu.vectoringLength : length);
  i32[v + Vmcb.EVENT_INJECTION] = 0;
  i32[v + Vmcb.EVENT_INJECTION + 1] = 0;
}

/** The processor's own bookkeeping of the instruction that exits must not touch the host's state. */
export function changeWorld(svm: SvmContext): void {
  const { cpu } = svm;
  cpu.trapFlag = 0;
  cpu.freshShadow = 1;
  cpu.freshResume = 1;
  cpu.vectoring = 0;
  cpu.vectoringLength = 0;
  cpu.nmiUnblocked = 0;
  cpu.attention = 1;
}

/** Ends guest mode: everything but the control area's results. */
function leave(svm: SvmContext, code: number): void {
  const { cpu } = svm;
  const { w } = cpu;
  const { counters, ledger } = svm;
  const context = ledger.at(vmcbAddress(svm));
  context.lastExitNs = recentNs(cpu.clock);
  context.lastExitReason = code;
  counters.exits[exitIndex(code)]!++;
  w[GUEST_MODE] = 0;
  svm.writeTrap = -1;
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! | Shadow.GIF;
  changeWorld(svm);
}

/**
 * #VMEXIT with an exit code and its information words (int32 halves; APM Vol. 2, "#VMEXIT"). `length`: bytes of the intercepted instruction, for nRIP; 0 when
 * the exit is not one of an instruction. Always true, as the answer of an intercept.
 */
export function vmexit(svm: SvmContext, code: number, length = 0, info1Lo = 0, info1Hi = 0, info2Lo = 0, info2Hi = 0): true {
  // An exit for a write to the virtual APIC just before comes first; what wanted to exit now happens again.
  if (svm.avic.written >= 0 && serviceWrite(svm)) return true;
  const { cpu, i32, vmcb } = svm;
  const nested = (i32[vmcb + Vmcb.NESTED_CONTROL]! & NestedControl.NP_ENABLE) !== 0;
  if (svm.trace !== null)
    svm.trace(
      `#VMEXIT ${exitCodeName(code)} rip 0x${cpu.rip.toString(16)} info1 0x${(info1Lo >>> 0).toString(16)} info2 0x${(info2Lo >>> 0).toString(16)}`,
    );
  if (svm.memory.beforeWrite(vmcb * 4, VMCB_BYTES)) {
    storeExit(svm, code, length, info1Lo, info1Hi, info2Lo, info2Hi);
    storeGuest(svm, vmcb);
    storeBranches(svm, vmcb);
    svm.avic.leave();
  }
  cpu.w[ACTIVITY] = 0;
  leave(svm, code);
  if (!restoreHost(svm, nested)) {
    cpu.w[ACTIVITY] = SHUTDOWN;
    cpu.onPlatformEvent('shutdown');
  }
  return true;
}

/** The effect of a register that was written just before; true when it made an exit. */
export function serviceWrite(svm: SvmContext): boolean {
  const { avic } = svm;
  if (avic.written < 0 || !avic.settle()) return false;
  const { code, info1Lo, info1Hi, info2Lo, info2Hi } = avic.demand;
  svm.cpu.vectoring = 0;
  return vmexit(svm, code, 0, info1Lo, info1Hi, info2Lo, info2Hi);
}

/** A VMRUN whose VMCB is not consistent: the exit comes before any of the guest's state, which stays in the VMCB as it was. */
export function vmexitInvalid(svm: SvmContext): void {
  svm.counters.failedEntries++;
  if (svm.memory.beforeWrite(svm.vmcb * 4, VMCB_BYTES)) storeExit(svm, ExitCode.INVALID, 0, 0, 0, 0, 0);
  svm.counters.exits[exitIndex(ExitCode.INVALID)]!++;
  const { w } = svm.cpu;
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! | Shadow.GIF;
  changeWorld(svm);
}
