import { defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { Control, DOUBLE, Flag, type Format, HALF, type Parts, Round, SINGLE, Soft } from './format.js';
import { shiftRightJam } from './wide.js';

type Q = Val<64>;

/** What rounding adds below the last place kept: half of it, all of it, or nothing. */
function increment(soft: Soft, sign: Val<32>, dropped: bigint): Q {
  const { code } = soft;
  const mode = soft.control.shrU(13).and(3);
  const away = mode.eq(Round.DOWN).and(sign).or(mode.eq(Round.UP).and(sign.isZero()));
  return code.select(mode.eq(Round.NEAREST), soft.const64((dropped + 1n) >> 1n), code.select(away, soft.const64(dropped), soft.const64(0)));
}

/**
 * Rounds a nonzero number with its leading bit at 62 to a format and packs it (SDM Vol. 1, "SIMD Floating-Point Exception Conditions"):
 * tininess is detected after rounding.
 */
const roundTo = (format: Format): FunctionDefinition =>
  defineFunction(`${format.name}.round`, { params: ['i32', 'i32', 'i64', 'i32', 'i32'], results: ['i64'] }, (code) => {
    const soft = new Soft(code, format, code.param(3, 32), code.param(4, 32));
    const sign = code.param(0, 32);
    const spare = 62 - format.fraction;
    const dropped = (1n << BigInt(spare)) - 1n;
    const extra = increment(soft, sign, dropped);
    const exponent = code.variable(code.param(1, 32));
    const significand = code.variable(code.param(2, 64));
    const carries = significand.get().add(extra).ltS(0);
    code.if(exponent.get().leS(0), () => {
      const tiny = exponent.get().ltS(0).or(carries.isZero());
      const unmasked = soft.control.and(Control.UNDERFLOW_MASK).isZero();
      // Unmasked: the result is not delivered, and only precision lost in an unbounded exponent range counts.
      code.if(tiny.and(unmasked), () => {
        soft.raise(significand.get().and(dropped).isNonzero().shl(5).or(Flag.UNDERFLOW));
        code.return(soft.zero(sign));
      });
      code.if(tiny.and(unmasked.isZero()).and(soft.control.and(Control.FTZ).isNonzero()), () => {
        if (format === HALF) return;
        soft.raise(Flag.UNDERFLOW | Flag.PRECISION);
        code.return(soft.zero(sign));
      });
      significand.set(shiftRightJam(significand.get(), code.constant(32, 1).sub(exponent.get())));
      exponent.set(code.constant(32, 1));
      code.if(tiny.and(significand.get().and(dropped).isNonzero()), () => soft.raise(Flag.UNDERFLOW));
    });
    const overflow = exponent
      .get()
      .geS(format.top)
      .or(
        exponent
          .get()
          .eq(format.top - 1)
          .and(carries),
      );
    const rest = significand.get().and(dropped);
    code.if(overflow, () => {
      const masked = soft.control.and(Control.OVERFLOW_MASK).isNonzero();
      soft.raise(masked.or(rest.isNonzero()).shl(5).or(Flag.OVERFLOW));
      code.return(soft.zero(sign).or(code.select(extra.isZero(), soft.const64(soft.infinity - 1n), soft.const64(soft.infinity))));
    });
    code.if(rest.isNonzero(), () => soft.raise(Flag.PRECISION));
    const tie = rest.eq((dropped + 1n) >> 1n).and(soft.control.shrU(13).and(3).isZero());
    const kept = significand.get().add(extra).shrU(spare).and(tie.zext(64).xor(-1n));
    code.return(soft.zero(sign).or(exponent.get().sub(1).zext(64).shl(format.fraction).add(kept)));
  });

const ROUND: Record<string, FunctionDefinition> = { f16: roundTo(HALF), f32: roundTo(SINGLE), f64: roundTo(DOUBLE) };

/** Leaves the function with a number rounded to a format. */
export function returnRounded(soft: Soft, { sign, exponent, significand }: Parts, format: Format = soft.format): void {
  soft.code.return(soft.code.call(ROUND[format.name]!, 64, sign, exponent, significand, soft.control, soft.cpu));
}
