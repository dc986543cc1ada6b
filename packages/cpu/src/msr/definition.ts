import type { Vcpu } from '../vcpu.js';
import type { StateField } from '../words.js';

/** One model-specific register: where it lives, which bits may be written, and which feature brings it. */
export interface MsrDefinition {
  readonly index: number;
  readonly name: string;
  /** Home in the vCPU state, with the element of an array field; without one the registry keeps the value itself (and saves it). */
  readonly home?: StateField;
  readonly element?: number;
  /** Bits that may be written, low and high half; others must be zero (#GP), unless `ignore` says that they are dropped. All bits when left out. */
  readonly mask?: readonly [lo: number, hi: number];
  readonly ignore?: boolean;
  /** The value must be a canonical address. */
  readonly canonical?: boolean;
  /** Value after RESET; zero when left out. */
  readonly reset?: readonly [lo: number, hi: number];
  /** Reads as this, and cannot be written. */
  readonly constant?: (cpu: Vcpu) => readonly [lo: number, hi: number];
  /** Replaces the plain read: leaves the value in `cpu.lo`/`cpu.hi`; false means #GP. */
  readonly read?: (cpu: Vcpu) => boolean;
  /** Runs in place of the plain write; false means #GP. */
  readonly write?: (cpu: Vcpu, lo: number, hi: number) => boolean;
  /** Validates before the plain write; false means #GP. */
  readonly allow?: (cpu: Vcpu, lo: number, hi: number) => boolean;
  /** Runs after the plain write. */
  readonly changed?: (cpu: Vcpu) => void;
  /** Says whether this CPU has it; always when left out. */
  readonly when?: (cpu: Vcpu) => boolean;
}
