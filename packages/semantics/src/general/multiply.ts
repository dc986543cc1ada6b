import type { IntWidth, Val } from '@nestvm/emit';
import { type Context, Vector } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { instruction, widen } from '../instruction.js';
import type { Operand } from '../operand.js';
import { DIVIDE_WIDE, MULTIPLY_HIGH, multiplyHighSigned } from './wide.js';

const RAX = 0;
const RDX = 2;

/** Flags of a multiplication: CF = OF = the high half says something; SF, ZF, PF follow the low half (undefined). */
const multiplyFlags = (x: Context, low: Val<IntWidth>, significant: Val<32>): void => x.flags.carryOverflow(low, significant, significant);

/** MUL and one-operand IMUL: rDX:rAX (or AX) ← rAX × SRC. */
function wideMultiply(signed: boolean): Emitter {
  return instruction((x, src) => {
    const { width } = src;
    const b = src.read();
    const a = x.gpr(width, RAX);
    if (width === 64) {
      const low = a.mul(b) as Val<64>;
      const high = signed ? multiplyHighSigned(x.code, a as Val<64>, b as Val<64>) : x.code.call(MULTIPLY_HIGH, 64, a, b);
      x.setGpr(64, RAX, low);
      x.setGpr(64, RDX, high);
      return multiplyFlags(x, low, signed ? high.ne(low.shrS(63)) : high.isNonzero());
    }
    const product = signed ? a.sext(64).mul(b.sext(64)) : a.zext(64).mul(b.zext(64));
    const low = product.trunc(width);
    const high = product.shrU(width).trunc(width);
    if (width === 8) x.setGpr(16, RAX, product.trunc(16));
    else {
      x.setGpr(width, RAX, low);
      x.setGpr(width, RDX, high);
    }
    multiplyFlags(x, low, signed ? product.ne(low.sext(64)) : high.isNonzero());
  });
}

/** Two- and three-operand IMUL: the product, cut to the operand size. */
function truncatedMultiply(x: Context, dst: Operand, a: Val<IntWidth>, b: Val<IntWidth>): void {
  const { width } = dst;
  const result = a.mul(b);
  dst.write(result);
  const lost =
    width === 64
      ? multiplyHighSigned(x.code, a as Val<64>, b as Val<64>).ne((result as Val<64>).shrS(63))
      : a.sext(64).mul(b.sext(64)).ne(result.sext(64));
  multiplyFlags(x, result, lost);
}

const oneOperandImul = wideMultiply(true);

/** Writes quotient and remainder where DIV and IDIV leave them. */
function writeQuotient(x: Context, width: IntWidth, quotient: Val<64>, remainder: Val<64>): void {
  if (width === 8) return x.setGpr(16, RAX, quotient.and(0xff).or(remainder.and(0xff).shl(8)).trunc(16));
  x.setGpr(width, RAX, quotient.trunc(width));
  x.setGpr(width, RDX, remainder.trunc(width));
}

/** The dividend of a narrow division, as 64 bits. */
function dividend(x: Context, width: 8 | 16 | 32): Val<64> {
  if (width === 8) return x.gpr(16, RAX).zext(64);
  return x.gpr(width, RDX).zext(64).shl(width).or(x.gpr(width, RAX).zext(64));
}

const DIV = instruction((x, src) => {
  const { width } = src;
  const divisor = src.read().zext(64) as Val<64>;
  x.faultIf(divisor.isZero(), Vector.DE);
  if (width !== 64) {
    const value = dividend(x, width);
    const quotient = value.divU(divisor);
    x.faultIf(quotient.shrU(width).isNonzero(), Vector.DE);
    return writeQuotient(x, width, quotient, value.remU(divisor));
  }
  const [high, low] = [x.gpr(64, RDX), x.gpr(64, RAX)];
  x.faultIf(high.geU(divisor), Vector.DE);
  const quotient = x.code.choose(
    high.isZero(),
    64,
    () => low.divU(divisor),
    () => x.code.call(DIVIDE_WIDE, 64, high, low, divisor),
  );
  writeQuotient(x, 64, quotient, low.sub(quotient.mul(divisor)));
});

const MINIMUM = -(1n << 63n);

/** 128 by 64 bits, signed: divide magnitudes, then give the quotient its sign. */
function signedWide(x: Context, high: Val<64>, low: Val<64>, divisor: Val<64>): Val<64> {
  const negative = high.shrS(63);
  const lowMagnitude = low.xor(negative).sub(negative);
  const highMagnitude = high.xor(negative).add(negative.and(lowMagnitude.isZero().zext(64)));
  const divisorSign = divisor.shrS(63);
  const magnitude = divisor.xor(divisorSign).sub(divisorSign);
  x.faultIf(highMagnitude.geU(magnitude), Vector.DE);
  const quotient = x.code.call(DIVIDE_WIDE, 64, highMagnitude, lowMagnitude, magnitude);
  const sign = negative.xor(divisorSign);
  // A positive quotient must stay below 2^63; a negative one (sign -1) may reach it.
  x.faultIf(quotient.gtU(x.const(64, ~MINIMUM).sub(sign)), Vector.DE);
  return quotient.xor(sign).sub(sign);
}

const IDIV = instruction((x, src) => {
  const { width } = src;
  const divisor = src.read().sext(64) as Val<64>;
  x.faultIf(divisor.isZero(), Vector.DE);
  if (width === 64) {
    const [high, low] = [x.gpr(64, RDX), x.gpr(64, RAX)];
    const simple = high.eq(low.shrS(63)).and(low.eq(MINIMUM).isZero());
    const quotient = x.code.choose(
      simple,
      64,
      () => low.divS(divisor),
      () => signedWide(x, high, low, divisor),
    );
    return writeQuotient(x, 64, quotient, low.sub(quotient.mul(divisor)));
  }
  const raw = dividend(x, width);
  const value = width === 32 ? raw : width === 16 ? raw.trunc(32).sext(64) : raw.trunc(16).sext(64);
  if (width === 32) x.faultIf(value.eq(MINIMUM), Vector.DE);
  const quotient = value.divS(divisor);
  x.faultIf(quotient.ne(quotient.trunc(width).sext(64)), Vector.DE);
  writeQuotient(x, width, quotient, value.remS(divisor));
});

/** Multiplication and division (SDM Vol. 1, "Binary Arithmetic Instructions"). */
export const multiplication: Meanings = {
  MUL: wideMultiply(false),
  IMUL: (x) => {
    if (x.facts.row.operands.length === 1) return oneOperandImul(x);
    instruction((y, dst, a, b) => {
      if (y.facts.row.operands.length > 2) truncatedMultiply(y, dst, a.read(), widen(b.read(), dst.width));
      else truncatedMultiply(y, dst, dst.read(), a.read());
    })(x);
  },
  DIV,
  IDIV,
};
