import { GuestMode, Vector } from '@nestvm/isa';
import { Proc1, Proc2 } from '../controls/controls.js';
import type { ControlsInForce } from '../controls-in-force.js';

/** The `guestMode` word in non-root operation: what generated code may execute there. VMX has no exits for PUSHF, POPF, IRET and reads of CR2, and INT n. */
export function guestModeOf(controls: ControlsInForce): number {
  let bits = GuestMode.ON | GuestMode.PLAIN_PUSHF | GuestMode.PLAIN_POPF | GuestMode.PLAIN_IRET | GuestMode.PLAIN_CR2 | GuestMode.PLAIN_INT;
  if (!controls.hasProc1(Proc1.RDTSC_EXITING) && controls.hasProc2(Proc2.ENABLE_RDTSCP)) bits |= GuestMode.PLAIN_RDTSC;
  if (!controls.hasProc1(Proc1.CR3_STORE_EXITING)) bits |= GuestMode.PLAIN_CR3;
  if (!controls.hasProc1(Proc1.INVLPG_EXITING)) bits |= GuestMode.PLAIN_INVLPG;
  if (!controls.hasProc2(Proc2.DESCRIPTOR_TABLE_EXITING)) bits |= GuestMode.PLAIN_GDT;
  // With a mask and a match of 0 the bitmap alone decides.
  const isMatched = (controls.pageFaultMask | controls.pageFaultMatch) === 0;
  if (isMatched && ((controls.exceptionBitmap >>> Vector.PF) & 1) === 0) bits |= GuestMode.PLAIN_PF;
  return bits;
}
