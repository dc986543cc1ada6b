import type { OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';

/** What follows ModRM, by the low four bits of a plan. */
export const Imm = {
  NONE: 0,
  /** Ib, zero-extended. */
  BYTE: 1,
  /** sIb and Jb, sign-extended to 64 bits. */
  SIGNED_BYTE: 2,
  WORD: 3,
  /** Iz and Jz: 16 or 32 bits, sign-extended to 64. */
  Z: 4,
  /** Iv: 16, 32 or 64 bits. */
  V: 5,
  /** Iw Ib: ENTER. */
  ENTER: 6,
  /** Ap: offset, then selector. */
  FAR: 7,
  /** Ib Ib: EXTRQ, INSERTQ. */
  TWO_BYTES: 8,
  /** moffs, by address size. */
  MOFFS: 9,
  /** A vector register in bits 7:4 (bit 7 counts in 64-bit mode only). */
  REGISTER: 10,
} as const;
export const PLAN_IMMEDIATE = 0xf;

/** The other bits of a plan: what the decoder must know about a row, without touching the row. */
export const Plan = {
  DEFAULT64: 1 << 4,
  FORCE64: 1 << 5,
  /** 66 selects the row and is not an operand-size prefix. */
  MANDATORY_66: 1 << 6,
  LOCK: 1 << 7,
  /** ModRM.reg or .rm names one of eight registers: extension bits are dropped. */
  REG_OF_8: 1 << 8,
  RM_OF_8: 1 << 9,
  Z_OPERAND: 1 << 10,
  /** See `isEncodable`: register numbers that do not exist. */
  CHECKED: 1 << 11,
  MOD_IGNORED: 1 << 12,
  SSE: 1 << 13,
  VSIB: 1 << 14,
  USES_VVVV: 1 << 15,
  HAS_VECTOR_RM: 1 << 16,
  /** MPX: 67 does nothing in 64-bit mode. */
  ADDRESS64: 1 << 17,
} as const;

const IMMEDIATES = ['I', 'sI', 'J', 'A', 'O', 'L'];

function immediateOf(operands: OpcodeRow['operands']): number {
  const codes = operands.filter((o) => IMMEDIATES.includes(o.method)).map((o) => o.method + o.type);
  if (codes.length === 0) return Imm.NONE;
  if (codes.length === 2) return codes[0] === 'Iw' ? Imm.ENTER : Imm.TWO_BYTES;
  const code = codes[0] as string;
  if (code === 'Ib') return Imm.BYTE;
  if (code.startsWith('L')) return Imm.REGISTER;
  if (code === 'sIb' || code === 'Jb') return Imm.SIGNED_BYTE;
  if (code === 'Iw') return Imm.WORD;
  if (code === 'Iv') return Imm.V;
  if (code === 'Ap') return Imm.FAR;
  return code.startsWith('O') ? Imm.MOFFS : Imm.Z;
}

const bit = (when: boolean, value: number): number => (when ? value : 0);

/** What operands say of a plan, and as `SSE` that they name vector registers, which counts in legacy rows. */
function operandPlan(operands: OpcodeRow['operands']): number {
  const has = (...methods: string[]): boolean => operands.some((o) => methods.includes(o.method));
  return (
    immediateOf(operands) |
    bit(has('P', 'S'), Plan.REG_OF_8) |
    bit(has('N', 'Q', 'STi', 'KR', 'KE'), Plan.RM_OF_8) |
    bit(has('S', 'C', 'D', 'MV', 'KG', 'KB'), Plan.CHECKED) |
    bit(has('V', 'W', 'U'), Plan.SSE) |
    bit(has('MV'), Plan.VSIB) |
    bit(has('B', 'H', 'KB'), Plan.USES_VVVV) |
    bit(has('W', 'U'), Plan.HAS_VECTOR_RM) |
    bit(has('BG'), Plan.ADDRESS64)
  );
}

function rowPlan(row: OpcodeRow): number {
  return (
    bit(row.mode64 === 'default64', Plan.DEFAULT64) |
    bit(row.mode64 === 'force64', Plan.FORCE64) |
    bit(row.code.prefix === 0x66, Plan.MANDATORY_66) |
    bit(row.lock, Plan.LOCK) |
    bit(row.code.zOperand, Plan.Z_OPERAND) |
    bit(row.encoding === 'evex', Plan.CHECKED) |
    bit(row.code.modIgnored, Plan.MOD_IGNORED)
  );
}

/** One plan per row id. */
export function buildPlans(): Int32Array {
  // Rows share their lists of operands, of which there are some hundred.
  const known = new Map<OpcodeRow['operands'], number>();
  return Int32Array.from(opcodeRows, (row) => {
    let plan = known.get(row.operands);
    if (plan === undefined) known.set(row.operands, (plan = operandPlan(row.operands)));
    return rowPlan(row) | (row.encoding === 'legacy' ? plan : plan & ~Plan.SSE);
  });
}
