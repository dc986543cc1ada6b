/**
 * What the next VM exit will say beside its reason: staged by whoever makes the exit, written to the VMCS by `exitGuest`, and cleared then. 64-bit values are
 * int32 halves.
 */
export class ExitRecord {
  qualificationLo = 0;
  qualificationHi = 0;
  linearLo = 0;
  linearHi = 0;
  /** Guest-physical address, -1 when there is none. */
  physical = -1;
  /** VM-exit interruption information and error code. */
  interruption = 0;
  errorCode = 0;
  /** VM-exit instruction length and instruction information. */
  length = 0;
  information = 0;
  /** RFLAGS.RF in the saved guest state: the value that is there, or what the manual says for the cause. */
  resumeFlag: 'keep' | 'clear' | 'set' = 'keep';

  clear(): void {
    this.qualificationLo = 0;
    this.qualificationHi = 0;
    this.linearLo = 0;
    this.linearHi = 0;
    this.physical = -1;
    this.interruption = 0;
    this.errorCode = 0;
    this.length = 0;
    this.information = 0;
    this.resumeFlag = 'keep';
  }

  qualify(lo: number, hi = 0): this {
    this.qualificationLo = lo;
    this.qualificationHi = hi;
    return this;
  }
}
