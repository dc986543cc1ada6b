import { Rights } from '../guest/walk.js';
import type { StageFault } from './stage-fault.js';
import { EptQualification, StageFaultKind } from './stage-fault.js';

/** The one `StageFault` of a vCPU, as the second stage writes it. */
export class StageFaultRecord implements StageFault {
  kind: number = StageFaultKind.VIOLATION;
  guestPhysical = 0;
  linearLo = 0;
  linearHi = 0;
  linearValid = false;
  tableWalk = false;
  qualification = 0;
  errorLow = 0;
  errorHigh = 0;
  suppressVe = false;
  /** `Rights` that the first stage grants to a final access, and whether they are to be reported. */
  linear = 0;
  advanced = false;

  /** Begins a record. */
  start(kind: number, guestPhysical: number, tableWalk: boolean): void {
    this.kind = kind;
    this.guestPhysical = guestPhysical;
    this.tableWalk = tableWalk;
    this.linearLo = 0;
    this.linearHi = 0;
    this.linearValid = false;
    this.qualification = 0;
    this.errorLow = 0;
    this.errorHigh = 0;
    this.suppressVe = false;
  }

  /** Says which linear address was being translated; only violations report it in their qualification. */
  locate(lo: number, hi: number, ept: boolean): void {
    this.linearLo = lo | 0;
    this.linearHi = hi | 0;
    this.linearValid = true;
    if (!ept || this.kind !== StageFaultKind.VIOLATION) return;
    this.qualification |= EptQualification.LINEAR_VALID;
    if (this.tableWalk) return;
    this.qualification |= EptQualification.FINAL;
    if (!this.advanced) return;
    if ((this.linear & Rights.USER) !== 0) this.qualification |= EptQualification.USER_LINEAR;
    if ((this.linear & Rights.WRITE) !== 0) this.qualification |= EptQualification.WRITABLE_LINEAR;
    if ((this.linear & Rights.NO_EXECUTE) !== 0) this.qualification |= EptQualification.EXECUTE_DISABLE_LINEAR;
  }
}
