import type { IntWidth, Val } from '@nestvm/emit';
import type { Meanings } from '../emitter.js';
import { alu, type FlagRule, instruction } from '../instruction.js';

const ADD_FLAGS: FlagRule = (x, r, a, b) => x.flags.add(r, a, b);
const SUB_FLAGS: FlagRule = (x, r, a, b) => x.flags.sub(r, a, b);
const LOGIC_FLAGS: FlagRule = (x, r) => x.flags.logic(r);

/** CF as a value of the operand's width. */
const carry = (cf: Val<32>, width: IntWidth): Val<IntWidth> => (width === 64 ? cf.zext(64) : cf.as(width));

/** The smallest signed number of a width. */
const minimum = (width: IntWidth): bigint => 1n << BigInt(width - 1);

/** Integer arithmetic and logic (SDM Vol. 1, "Binary Arithmetic Instructions" and "Logical Instructions"). */
export const arithmetic: Meanings = {
  /** Add. DEST ← DEST + SRC. */
  ADD: alu((a, b) => a.add(b), ADD_FLAGS),
  /** Add with carry. */
  ADC: alu((a, b, x) => a.add(b).add(carry(x.flags.cf(), a.width)), ADD_FLAGS),
  SUB: alu((a, b) => a.sub(b), SUB_FLAGS),
  /** Subtract with borrow. */
  SBB: alu((a, b, x) => a.sub(b).sub(carry(x.flags.cf(), a.width)), SUB_FLAGS),
  /** Compare: a subtraction whose result nobody keeps. */
  CMP: alu((a, b) => a.sub(b), SUB_FLAGS, { keep: false }),
  AND: alu((a, b) => a.and(b), LOGIC_FLAGS),
  OR: alu((a, b) => a.or(b), LOGIC_FLAGS),
  XOR: alu((a, b) => a.xor(b), LOGIC_FLAGS),
  /** Test: an AND whose result nobody keeps. */
  TEST: alu((a, b) => a.and(b), LOGIC_FLAGS, { keep: false }),
  NOT: instruction((_, dst) => dst.write(dst.modify().not())),
  /** Negate: 0 - DEST. */
  NEG: instruction((x, dst) => {
    const a = dst.modify();
    const zero = x.const(a.width, 0);
    const result = zero.sub(a);
    dst.write(result);
    x.flags.sub(result, zero, a);
  }),
  /** Increment; CF stays. */
  INC: instruction((x, dst) => {
    const result = dst.modify().add(1);
    dst.write(result);
    x.flags.keepCarry(result, result.eq(minimum(result.width)), result.and(15).isZero());
  }),
  /** Decrement; CF stays. */
  DEC: instruction((x, dst) => {
    const result = dst.modify().sub(1);
    dst.write(result);
    x.flags.keepCarry(result, result.eq(minimum(result.width) - 1n), result.and(15).eq(15));
  }),
};
