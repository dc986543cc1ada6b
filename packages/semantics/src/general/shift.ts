import type { IntWidth, Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { instruction } from '../instruction.js';

/** A shifted value and the bit that fell out last. */
interface Shifted {
  readonly result: Val<IntWidth>;
  readonly cf: Val<32>;
  readonly of: Val<32>;
}

const msb = (value: Val<IntWidth>): Val<32> => value.shrU(value.width - 1).trunc(32) as Val<32>;
const second = (value: Val<IntWidth>): Val<32> => (value.shrU(value.width - 2).trunc(32) as Val<32>).and(1);
const bit0 = (value: Val<IntWidth>): Val<32> => (value.trunc(32) as Val<32>).and(1);

/** Count of a shift or rotation: modulo 32, or 64 for 64-bit operands. */
const masked = (count: Val<IntWidth>, width: IntWidth): Val<32> => (count.trunc(32) as Val<32>).and(width === 64 ? 63 : 31);

/** A shift or rotation: the result is written always, the flags only when the (masked) count is not zero. */
function shifter(body: (a: Val<IntWidth>, count: Val<32>, x: Context) => Shifted, flags: (x: Context, s: Shifted) => void): Emitter {
  return instruction((x, dst, src) => {
    const count = masked(src.read(), dst.width);
    const shifted = body(dst.modify(), count, x);
    dst.write(shifted.result);
    x.code.if(count, () => flags(x, shifted));
  });
}

const allFlags = (x: Context, s: Shifted): void => x.flags.carryOverflow(s.result, s.cf, s.of);
const carryOnly = (x: Context, s: Shifted): void => x.flags.setCarryOverflow(s.cf, s.of);

function shl(a: Val<IntWidth>, count: Val<32>): Shifted {
  const { width } = a;
  if (width === 64) {
    const result = a.shl(count);
    const cf = bit0(a.shrU(count.neg()));
    return { result, cf, of: msb(result).xor(cf) };
  }
  const wide = a.zext(64).shl(count);
  const result = wide.trunc(width);
  const cf = bit0(wide.shrU(width));
  return { result, cf, of: msb(result).xor(cf) };
}

function shr(a: Val<IntWidth>, count: Val<32>): Shifted {
  const wide = a.zext(64);
  return { result: wide.shrU(count).trunc(a.width), cf: bit0(wide.shrU(count.sub(1))), of: msb(a) };
}

function sar(a: Val<IntWidth>, count: Val<32>, x: Context): Shifted {
  const wide = a.sext(64);
  return { result: wide.shrS(count).trunc(a.width), cf: bit0(wide.shrS(count.sub(1))), of: x.const(32, 0) };
}

/** Rotation of a narrow value: two copies side by side, then a shift. */
function rotateLeft(a: Val<IntWidth>, count: Val<32>): Val<IntWidth> {
  if (a.width >= 32) return a.rotl(count);
  const n = count.and(a.width - 1);
  const wide = a.as(32);
  return wide
    .shl(n)
    .or(wide.shrU(n.neg().and(a.width - 1)))
    .trunc(a.width);
}

function rol(a: Val<IntWidth>, count: Val<32>): Shifted {
  const result = rotateLeft(a, count);
  const cf = bit0(result);
  return { result, cf, of: msb(result).xor(cf) };
}

function ror(a: Val<IntWidth>, count: Val<32>): Shifted {
  const result = rotateLeft(a, count.neg());
  return { result, cf: msb(result), of: msb(result).xor(second(result)) };
}

/** Rotations through carry work on W+1 bits; 64-bit ones in two pieces. */
function rcl(a: Val<IntWidth>, count: Val<32>, x: Context): Shifted {
  const { width } = a;
  const carry = x.flags.cf().zext(64);
  if (width === 64) {
    const wide = a as Val<64>;
    const moved = wide
      .shl(count)
      .or(carry.shl(count.sub(1)))
      .or(wide.shrU(1).shrU(count.neg()));
    const result = x.code.select(count, moved, wide);
    const cf = bit0(wide.shrU(count.neg()));
    return { result, cf, of: msb(result).xor(cf) };
  }
  const n = width === 32 ? count : count.remU(width + 1);
  const v = a.zext(64).or(carry.shl(width));
  const rotated = v.shl(n).or(v.shrU(n.neg().add(width + 1)));
  const result = rotated.trunc(width);
  const cf = bit0(rotated.shrU(width));
  return { result, cf, of: msb(result).xor(cf) };
}

function rcr(a: Val<IntWidth>, count: Val<32>, x: Context): Shifted {
  const { width } = a;
  const carry = x.flags.cf().zext(64);
  if (width === 64) {
    const wide = a as Val<64>;
    const moved = wide.shrU(count).or(carry.shl(count.neg())).or(wide.shl(1).shl(count.neg()));
    const result = x.code.select(count, moved, wide);
    return { result, cf: bit0(wide.shrU(count.sub(1))), of: msb(result).xor(second(result)) };
  }
  const n = width === 32 ? count : count.remU(width + 1);
  const v = a.zext(64).or(carry.shl(width));
  const rotated = v.shrU(n).or(v.shl(n.neg().add(width + 1)));
  const result = rotated.trunc(width);
  return { result, cf: bit0(rotated.shrU(width)), of: msb(result).xor(second(result)) };
}

/** Double shifts; the count is masked, and a zero count changes nothing but (32-bit registers) the upper half. */
function doubleShift(left: boolean): Emitter {
  return instruction((x, dst, src, amount) => {
    const { width } = dst;
    const count = masked(amount.read(), width);
    const fill = src.read();
    const a = dst.modify();
    let result: Val<IntWidth>;
    let cf: Val<32>;
    if (width === 64) {
      const moved = left ? a.shl(count).or(fill.shrU(1).shrU(count.xor(63))) : a.shrU(count).or(fill.shl(1).shl(count.xor(63)));
      result = moved;
      cf = bit0(left ? a.shrU(count.neg()) : a.shrU(count.sub(1)));
    } else {
      const high = left ? a : fill;
      const low = left ? fill : a;
      const both = high.zext(64).shl(width).or(low.zext(64));
      // A 16-bit count above 16 is undefined: bits beyond the pair come from the pair again, as on current processors.
      const pair = width === 16 ? both.or(both.shl(32)) : both;
      result = left ? (width === 16 ? pair.shl(count).shrU(48).trunc(16) : pair.shl(count).shrU(32).trunc(32)) : pair.shrU(count).trunc(width);
      cf = bit0(left ? a.zext(64).shl(count).shrU(width) : pair.shrU(count.sub(1)));
    }
    dst.write(result);
    x.code.if(count, () => x.flags.carryOverflow(result, cf, msb(result).xor(msb(a))));
  });
}

/** Shifts and rotations (SDM Vol. 1, "Shift and Rotate Instructions"). */
export const shifts: Meanings = {
  SHL: shifter(shl, allFlags),
  SHR: shifter(shr, allFlags),
  SAR: shifter(sar, allFlags),
  ROL: shifter(rol, carryOnly),
  ROR: shifter(ror, carryOnly),
  RCL: shifter(rcl, carryOnly),
  RCR: shifter(rcr, carryOnly),
  SHLD: doubleShift(true),
  SHRD: doubleShift(false),
};
