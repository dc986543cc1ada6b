import type { IntWidth, Val } from '@nestvm/emit';
import type { Context } from './context.js';
import type { Emitter } from './emitter.js';
import { integerOperand, type Operand, operandWidth } from './operand.js';

/** The integer operands of the instruction at hand, in Intel order. */
export function operandsOf(x: Context): Operand[] {
  return x.facts.row.operands.map((spec) => {
    const type = x.facts.memory && (spec.method === 'E' || spec.method === 'M') ? spec.memoryType : spec.type;
    return integerOperand(x, spec, operandWidth(type, x.facts.operandSize));
  });
}

/** An instruction over integer operands. */
export const instruction =
  (body: (x: Context, a: Operand, b: Operand, c: Operand, d: Operand) => void): Emitter =>
  (x) => {
    const [a, b, c, d] = operandsOf(x);
    body(x, a as Operand, b as Operand, c as Operand, d as Operand);
  };

/** A source extended to the destination's width as immediates are: sign-extended when narrower. */
export function widen(value: Val<IntWidth>, width: IntWidth): Val<IntWidth> {
  return value.width === width ? value : value.sext(width);
}

/** The pure result of a two-operand instruction. */
export type Body = (a: Val<IntWidth>, b: Val<IntWidth>, x: Context) => Val<IntWidth>;
/** The flags of a result and its inputs. */
export type FlagRule = (x: Context, result: Val<IntWidth>, a: Val<IntWidth>, b: Val<IntWidth>) => void;

/**
 * A two-operand arithmetic instruction: DEST ← body(DEST, SRC). Flags come last, after the last possible fault.
 * With `keep: false` nobody keeps the result.
 */
export function alu(body: Body, flags: FlagRule, { keep = true } = {}): Emitter {
  return instruction((x, dst, src) => {
    const b = widen(src.read(), dst.width);
    const a = keep ? dst.modify() : dst.read();
    const result = body(a, b, x);
    if (keep) dst.write(result);
    flags(x, result, a, b);
  });
}
