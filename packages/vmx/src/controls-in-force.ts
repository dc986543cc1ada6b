import { Exit, Pin, Proc1, Proc2 } from './controls/controls.js';
import { F } from './fields/layout.js';
import { addressAt } from './state.js';

const f = {
  pin: F.PIN_CONTROLS,
  proc1: F.PRIMARY_CONTROLS,
  proc2: F.SECONDARY_CONTROLS,
  proc3: F.TERTIARY_CONTROLS,
  exit: F.EXIT_CONTROLS,
  exit2: F.SECONDARY_EXIT_CONTROLS,
  entry: F.ENTRY_CONTROLS,
  exceptions: F.EXCEPTION_BITMAP,
  pfMask: F.PAGE_FAULT_MASK,
  pfMatch: F.PAGE_FAULT_MATCH,
  cr0Mask: F.CR0_GUEST_HOST_MASK,
  cr0Shadow: F.CR0_READ_SHADOW,
  cr4Mask: F.CR4_GUEST_HOST_MASK,
  cr4Shadow: F.CR4_READ_SHADOW,
  ioA: F.IO_BITMAP_A,
  ioB: F.IO_BITMAP_B,
  msr: F.MSR_BITMAP,
} as const;

/** The controls of the VMCS that non-root operation runs under: read at VM entry, as a processor does, and in force until the exit. Words are int32. */
export class ControlsInForce {
  pin = 0;
  proc1 = 0;
  /** Zero unless activated; likewise `proc3` and `exit2`. */
  proc2 = 0;
  proc3 = 0;
  exit = 0;
  exit2 = 0;
  entry = 0;
  exceptionBitmap = 0;
  pageFaultMask = 0;
  pageFaultMatch = 0;
  cr0Mask = 0;
  cr0Shadow = 0;
  cr4Mask = 0;
  cr4Shadow = 0;
  /** High halves of the read shadows where the mask has bits: what MOV from CR0 and CR4 shows there. */
  cr0High = 0;
  cr4High = 0;
  ioBitmapA = 0;
  ioBitmapB = 0;
  msrBitmap = 0;
  externalInterruptExiting = false;
  usesEpt = false;

  /** Reads the controls from a VMCS region. */
  load(i32: Int32Array, region: number): void {
    this.pin = i32[region + f.pin]!;
    this.proc1 = i32[region + f.proc1]!;
    this.proc2 = (this.proc1 & Proc1.ACTIVATE_SECONDARY_CONTROLS) !== 0 ? i32[region + f.proc2]! : 0;
    this.proc3 = (this.proc1 & Proc1.ACTIVATE_TERTIARY_CONTROLS) !== 0 ? i32[region + f.proc3]! : 0;
    this.exit = i32[region + f.exit]!;
    this.exit2 = (this.exit & Exit.ACTIVATE_SECONDARY_CONTROLS) !== 0 ? i32[region + f.exit2]! : 0;
    this.entry = i32[region + f.entry]!;
    this.exceptionBitmap = i32[region + f.exceptions]!;
    this.pageFaultMask = i32[region + f.pfMask]!;
    this.pageFaultMatch = i32[region + f.pfMatch]!;
    this.cr0Mask = i32[region + f.cr0Mask]!;
    this.cr0Shadow = i32[region + f.cr0Shadow]!;
    this.cr0High = i32[region + f.cr0Mask + 1]! & i32[region + f.cr0Shadow + 1]!;
    this.cr4Mask = i32[region + f.cr4Mask]!;
    this.cr4Shadow = i32[region + f.cr4Shadow]!;
    this.cr4High = i32[region + f.cr4Mask + 1]! & i32[region + f.cr4Shadow + 1]!;
    this.ioBitmapA = addressAt(i32, region + f.ioA);
    this.ioBitmapB = addressAt(i32, region + f.ioB);
    this.msrBitmap = addressAt(i32, region + f.msr);
    this.externalInterruptExiting = (this.pin & Pin.EXTERNAL_INTERRUPT_EXITING) !== 0;
    this.usesEpt = (this.proc2 & Proc2.ENABLE_EPT) !== 0;
  }

  hasPin(bits: number): boolean {
    return (this.pin & bits) !== 0;
  }

  hasProc1(bits: number): boolean {
    return (this.proc1 & bits) !== 0;
  }

  hasProc2(bits: number): boolean {
    return (this.proc2 & bits) !== 0;
  }

  hasProc3(bits: number): boolean {
    return (this.proc3 & bits) !== 0;
  }

  hasExit(bits: number): boolean {
    return (this.exit & bits) !== 0;
  }

  hasEntry(bits: number): boolean {
    return (this.entry & bits) !== 0;
  }
}
