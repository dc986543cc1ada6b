import { GuestMode, Vector } from '@nestvm/isa';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { isIntercepted } from '../intercepts/intercept-bit.js';
import { Vmcb } from '../vmcb/layout.js';

/** The `guestMode` word under the VMCB in force: what generated code may execute. */
export function guestModeOf(svm: SvmContext): number {
  const reads = svm.i32[svm.vmcb + Vmcb.CR_INTERCEPTS]!;
  let bits: number = GuestMode.ON;
  if (!isIntercepted(svm, ExitCode.PUSHF)) bits |= GuestMode.PLAIN_PUSHF;
  if (!isIntercepted(svm, ExitCode.POPF)) bits |= GuestMode.PLAIN_POPF;
  if (!isIntercepted(svm, ExitCode.IRET)) bits |= GuestMode.PLAIN_IRET;
  if (!isIntercepted(svm, ExitCode.RDTSC) && !isIntercepted(svm, ExitCode.RDTSCP)) bits |= GuestMode.PLAIN_RDTSC;
  if (!isIntercepted(svm, ExitCode.GDTR_READ) && !isIntercepted(svm, ExitCode.GDTR_WRITE)) bits |= GuestMode.PLAIN_GDT;
  if ((reads & (1 << 2)) === 0) bits |= GuestMode.PLAIN_CR2;
  if ((reads & (1 << 3)) === 0) bits |= GuestMode.PLAIN_CR3;
  if (!isIntercepted(svm, ExitCode.INVLPG)) bits |= GuestMode.PLAIN_INVLPG;
  if (!isIntercepted(svm, ExitCode.SWINT)) bits |= GuestMode.PLAIN_INT;
  if (((svm.i32[svm.vmcb + Vmcb.EXCEPTION_INTERCEPTS]! >>> Vector.PF) & 1) === 0) bits |= GuestMode.PLAIN_PF;
  return bits;
}
