import type { Mnemonic, OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';

/** Prefix bits in `Instruction.prefixes`. */
export const Prefix = {
  LOCK: 1 << 0,
  /** F2 was the last of F2/F3. */
  REPNE: 1 << 1,
  /** F3 was the last of F2/F3. */
  REP: 1 << 2,
  OPERAND_SIZE: 1 << 3,
  ADDRESS_SIZE: 1 << 4,
  SEGMENT: 1 << 5,
  REX: 1 << 6,
  REX_W: 1 << 7,
  VEX: 1 << 8,
  EVEX: 1 << 9,
  /** 3E was the last segment prefix: what CET takes for NOTRACK. */
  NOTRACK: 1 << 10,
} as const;

/** `Instruction.base` and `.index` when absent; `RIP` for RIP-relative. */
export const NO_REGISTER = 16;
/** `Instruction.base` of a RIP-relative address (EIP-relative with a 32-bit address size). */
export const RIP_REGISTER = 17;

/**
 * One decoded instruction. The object is reused: `decodeInto` overwrites every field, and allocates nothing.
 * 64-bit quantities are two int32 halves.
 */
export class Instruction {
  /** The row of the opcode map; its `mnemonic` and `operands` say what this is. */
  row: OpcodeRow<Mnemonic> = opcodeRows[0] as OpcodeRow<Mnemonic>;
  /** Length in bytes, 1 … 15. */
  length = 0;
  prefixes = 0;
  /** Size of the code segment that it was decoded for: what `decodeInto` was called with. */
  mode: 16 | 32 | 64 = 32;
  /** Effective operand size in bits (for `v`, `z`, `y` operands), after prefixes, defaults and mode. Byte forms have it too; their operands say `b`. */
  operandSize: 16 | 32 | 64 = 32;
  addressSize: 16 | 32 | 64 = 32;
  /** Effective segment of the memory operand (`Segment` numbering), SS default for rSP/rBP bases included; in 64-bit mode only FS and GS count. */
  segment = 3;
  /** Primary opcode byte (the last of the opcode bytes), for text and for Z operands. */
  opcode = 0;
  hasModRm = false;
  /**
   * ModRM: mod, reg (with REX.R/VEX.R, EVEX.R'), rm (with REX.B; EVEX.X for vector registers). Register files of eight (MMX, x87, segments,
   * opmasks) have the extension bits removed already. Without ModRM, `rm` is the register of a Z operand (REX.B included) and mod is 0.
   */
  mod = 0;
  reg = 0;
  rm = 0;
  /** Memory operand: base and index register numbers (0-15; up to 31 for VSIB), NO_REGISTER when absent, RIP_REGISTER; scale as a shift 0-3. */
  base = NO_REGISTER;
  index = NO_REGISTER;
  scale = 0;
  /** Displacement, sign-extended to 32 bits (EVEX disp8*N already multiplied). For moffs (method O): the low half; `displacementHigh` has the high half. */
  displacement = 0;
  displacementHigh = 0;
  /** Bytes of displacement in the encoding: 0, 1, 2, 4, 8. */
  displacementBytes = 0;
  /** First immediate, extended as the row says (I+b zero-extended, sI+b and I+z sign-extended to 64 bits); also J displacements (sign-extended) and far-pointer offsets. */
  immediate = 0;
  immediateHigh = 0;
  /** Bytes of immediates in the encoding, the last ones of the instruction; an address of moffs is a displacement. */
  immediateBytes = 0;
  /** Second immediate: ENTER's level, far pointer's selector, EXTRQ/INSERTQ's second byte. */
  immediate2 = 0;
  /** VEX.vvvv / EVEX.V'vvvv register number. */
  vvvv = 0;
  /** Vector length in bits for VEX/EVEX (512 under static rounding), 128 for legacy SSE, 0 otherwise. */
  vectorLength = 0;
  /** EVEX: opmask register, zeroing, broadcast/rounding bit, L'L bits. */
  mask = 0;
  zeroing = false;
  evexB = false;
  evexLL = 0;
}
