import type { Memory, Rounding } from './operand.js';

/** Bits of the code segment. */
export type CodeBits = 16 | 32 | 64;

/** What an encoding depends on besides the row. */
export interface Shape {
  readonly mode: CodeBits;
  readonly operandSize: 16 | 32 | 64;
  /** 128, 256 or 512 for VEX and EVEX rows and 128 for SSE. */
  readonly vectorLength: number;
}

/** The fields of one encoding, gathered operand by operand. */
export interface Fields {
  reg: number;
  rm: number;
  memory: Memory | null;
  /** Register number for VEX.vvvv, -1 unused. */
  vvvv: number;
  /** Register in the low three opcode bits. */
  z: number;
  /** Little-endian immediate bytes in the order of the encoding. */
  readonly immediate: number[];
  /** A branch: bytes of the displacement and its target; the displacement is relative to the end of the instruction. */
  branch: { readonly bytes: 1 | 2 | 4; readonly target: bigint; readonly fromStart: boolean } | null;
  /** Address of moffs addressing. */
  moffs: Memory | null;
  /** String operands fix the address size. */
  addressSize: 0 | 16 | 32 | 64;
  segment: number;
  /** SPL BPL SIL DIL need REX; AH CH DH BH exclude it. */
  rex: boolean;
  noRex: boolean;
  mask: number;
  zeroing: boolean;
  rounding: Rounding | null;
  /** A memory operand whose size nobody said: bits that this row would take. */
  guessedBits: number;
}

/** Fields with nothing in them. */
export const emptyFields = (): Fields => ({
  reg: 0,
  rm: 0,
  memory: null,
  vvvv: -1,
  z: -1,
  immediate: [],
  branch: null,
  moffs: null,
  addressSize: 0,
  segment: -1,
  rex: false,
  noRex: false,
  mask: 0,
  zeroing: false,
  rounding: null,
  guessedBits: 0,
});
