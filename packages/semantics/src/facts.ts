import type { OpcodeRow } from '@nestvm/isa';

/**
 * What is known about an instruction when its code is written, in both engines: plain values. One interpreter handler exists per
 * combination that occurs, so a fact earns its place only when code differs by it.
 */
export interface Facts {
  readonly row: OpcodeRow;
  readonly operandSize: 16 | 32 | 64;
  readonly addressSize: 16 | 32 | 64;
  /** The ModRM operand (E, M, W, Q, …) is in memory, or the instruction has another explicit memory operand (O, X, Y). */
  readonly memory: boolean;
  /** 0 none, 1 REP/REPE (F3), 2 REPNE (F2). */
  readonly rep: 0 | 1 | 2;
  readonly lock: boolean;
  /** 64-bit code. */
  readonly long: boolean;
  /** Width of the stack pointer. */
  readonly stackSize: 16 | 32 | 64;
  /** The memory operand has an index register. */
  readonly indexed: boolean;
  /**
   * How the segment takes part in memory operands: `none` (64-bit code, flat segments), `base` (FS or GS in 64-bit code: add the base),
   * `checked` (base, limit and type: everything else).
   */
  readonly segment: 'none' | 'base' | 'checked';
  /** Like `segment` for stack accesses: `none` or `checked`. */
  readonly stackSegment: 'none' | 'checked';
  /** Bits of a canonical address: 57 with CR4.LA57. */
  readonly canonicalBits: 48 | 57;
  /** #AC is in force (CPL 3, CR0.AM, RFLAGS.AC). */
  readonly aligned: boolean;
  readonly vectorLength: 0 | 128 | 256 | 512;
}
