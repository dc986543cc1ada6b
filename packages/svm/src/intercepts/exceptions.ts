import { CR0, EventKind, enterDebugException, MODE, RIP, SEG_BASE, SLOW_ADDRESS } from '@nestvm/cpu/extension';
import { Cr0, Mode, Segment, Vector } from '@nestvm/isa';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { vmexit } from '../transitions/vmexit.js';
import { Vmcb } from '../vmcb/layout.js';
import { isIntercepted } from './intercept-bit.js';

const FETCH = 1 << 4;
const IGNNE = 0xc001_0115;
const CS_BASE = SEG_BASE + 2 * Segment.CS;

/** Decode assist: stores up to 15 bytes of the instruction at RIP, as far as they can be read without a fault; none for an instruction fetch. */
function storeInstructionBytes(svm: SvmContext, fetch: boolean): void {
  const { u8, cpu, mmu, memory } = svm;
  const { w } = cpu;
  const at = 4 * (svm.vmcb + Vmcb.INSTRUCTION_BYTES);
  const long = (w[MODE]! & Mode.LONG) !== 0;
  let count = 0;
  if (svm.features.decodeAssists && !fetch) {
    const start = long ? w[RIP]! : (w[RIP]! + w[CS_BASE]!) | 0;
    while (count < 15) {
      const lo = (start + count) | 0;
      const physical = mmu.peek(lo, long ? w[RIP + 1]! + (lo >>> 0 < count ? 1 : 0) : 0);
      if (physical < 0) break;
      // As many bytes as the page has.
      for (let left = 4096 - (physical % 4096); left > 0 && count < 15; left--) {
        u8[at + 1 + count] = memory.read8(physical + (4096 - (physical % 4096) - left));
        count++;
      }
    }
  }
  u8[at] = count;
}

/** Bytes of the instruction whose own exception (INT3, INTO, INT1) this is, for nRIP. */
const softLength = (svm: SvmContext, kind: EventKind): number => (kind === EventKind.EXCEPTION ? 0 : (svm.cpu.instruction?.length ?? 0));

/** An x87 error under CR0.NE = 0 is told by FERR# and freezes the processor until an interrupt comes, unless IGNNE is set (APM Vol. 2, "FERR_FREEZE Intercept"). */
function isFrozen(svm: SvmContext): boolean {
  const { cpu } = svm;
  if ((cpu.w[CR0]! & Cr0.NE) !== 0 || !isIntercepted(svm, ExitCode.FERR_FREEZE)) return false;
  return cpu.msrs.read(IGNNE) && (cpu.lo & 1) === 0;
}

/** Asked before the guest gets an exception; see `Virtualization.interceptException`. */
export function interceptException(svm: SvmContext, vector: number, error: number, hasError: boolean, kind: EventKind): boolean {
  if (vector === Vector.MF && isFrozen(svm)) return vmexit(svm, ExitCode.FERR_FREEZE);
  // INT1 has an intercept of its own, which was asked.
  if (kind === EventKind.PRIVILEGED_SOFTWARE_EXCEPTION) return false;
  if (((svm.i32[svm.vmcb + Vmcb.EXCEPTION_INTERCEPTS]! >>> vector) & 1) === 0) return false;
  const { w } = svm.cpu;
  const code = ExitCode.EXCEPTION + vector;
  if (vector === Vector.PF) {
    storeInstructionBytes(svm, (error & FETCH) !== 0);
    return vmexit(svm, code, 0, error, 0, w[SLOW_ADDRESS]!, w[SLOW_ADDRESS + 1]!);
  }
  // DR6 and DR7 are as the guest's handler would see them.
  if (vector === Vector.DB) enterDebugException(svm.cpu);
  return vmexit(svm, code, softLength(svm, kind), hasError ? error : 0);
}

/** #VMEXIT(NPF): EXITINFO1 is the error code, EXITINFO2 the guest-physical address (APM Vol. 2, "Nested versus Guest Page Faults, Fault Ordering"). */
export function nestedPageFault(svm: SvmContext): void {
  const fault = svm.mmu.stageFault;
  const address = fault.guestPhysical;
  storeInstructionBytes(svm, (fault.errorLow & FETCH) !== 0);
  vmexit(svm, ExitCode.NPF, 0, fault.errorLow, fault.errorHigh, (address % 4294967296) | 0, Math.floor(address / 4294967296));
}
