import { type Val } from '@nestvm/emit';
import { Gpr } from '@nestvm/isa';
import { type Context, Vector } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';

const parity = (v: Val<8>): Val<32> => v.as(32).popcnt().and(1).xor(1);

function setDecimalFlags(x: Context, al: Val<8>, cf: Val<32>, af: Val<32>): void {
  x.flags.set({ cf, af, pf: parity(al), zf: al.isZero(), sf: al.as(32).shrU(7), of: x.const(32, 0) });
}

/** DAA and DAS (SDM Vol. 2, their pseudo-code). */
function decimalAdjust(subtract: boolean): Emitter {
  return (x) => {
    const al = x.gpr(8, Gpr.RAX);
    const oldCarry = x.flags.cf();
    const low = al.as(32).and(15).gtU(9).or(x.flags.af());
    const high = al.as(32).gtU(0x99).or(oldCarry);
    const correction = low.neg().and(6).add(high.neg().and(0x60));
    const result = (subtract ? al.as(32).sub(correction) : al.as(32).add(correction)).trunc(8);
    // DAS also carries when taking 6 from AL borrows.
    const borrow = subtract ? low.and(al.as(32).ltU(6)) : x.const(32, 0);
    x.setGpr(8, Gpr.RAX, result);
    setDecimalFlags(x, result, high.or(borrow), low);
  };
}

/** AAA and AAS: the unpacked forms work on AX. */
function asciiAdjust(subtract: boolean): Emitter {
  return (x) => {
    const ax = x.gpr(16, Gpr.RAX).as(32);
    const adjust = ax.and(15).gtU(9).or(x.flags.af());
    const step = adjust.neg().and(0x106);
    const result = (subtract ? ax.sub(step) : ax.add(step)).and(0xff0f).trunc(16);
    x.setGpr(16, Gpr.RAX, result);
    setDecimalFlags(x, result.trunc(8), adjust, adjust);
  };
}

/** BCD and ASCII adjustment (SDM Vol. 1, "Decimal Arithmetic Instructions"). */
export const decimal: Meanings = {
  DAA: decimalAdjust(false),
  DAS: decimalAdjust(true),
  AAA: asciiAdjust(false),
  AAS: asciiAdjust(true),
  AAM: (x) => {
    const base = x.fields.immediate32().and(0xff);
    x.faultIf(base.isZero(), Vector.DE);
    const al = x.gpr(8, Gpr.RAX).as(32);
    const low = al.remU(base);
    x.setGpr(16, Gpr.RAX, al.divU(base).shl(8).or(low).trunc(16));
    setDecimalFlags(x, low.trunc(8), x.const(32, 0), x.const(32, 0));
  },
  AAD: (x) => {
    const ax = x.gpr(16, Gpr.RAX).as(32);
    const al = ax
      .and(0xff)
      .add(ax.shrU(8).mul(x.fields.immediate32().and(0xff)))
      .trunc(8);
    x.setGpr(16, Gpr.RAX, al.as(16));
    setDecimalFlags(x, al, x.const(32, 0), x.const(32, 0));
  },
};
