import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { qword } from '../vector/lanes.js';
import { from64, output, vectorAt } from '../vector/operand.js';

type V = Val<128>;

/** A bit field's first bit, and as many ones as it is long: length 0 means 64. */
interface Field {
  readonly index: Val<32>;
  readonly ones: Val<64>;
}

/** Length in bits 5:0 and index in bits 13:8 of the immediates, or of a qword of the last operand. */
function fieldOf(x: Context, control: Val<32>): Field {
  const length = control.and(63);
  const ones = x.code.select(length, x.const(64, 1).shl(length).sub(1), x.const(64, -1));
  return { index: control.shrU(8).and(63), ones };
}

const low = (x: Context, operand: number): Val<64> => qword(x, 0, vectorAt(x, operand).read()[0] as V);
const hasImmediates = (x: Context): boolean => x.facts.row.operands.length > 2;

/** EXTRQ: a bit field of the destination's low qword, moved to its bit 0. */
const EXTRQ: Emitter = (x) => {
  const control = hasImmediates(x) ? x.fields.immediate32() : low(x, 1).trunc(32);
  const { index, ones } = fieldOf(x, control);
  output(x).write([from64(x, low(x, 0).shrU(index).and(ones))]);
};

/** INSERTQ: the low bits of the source over a bit field of the destination's low qword. */
const INSERTQ: Emitter = (x) => {
  const source = vectorAt(x, 1).read()[0] as V;
  const control = hasImmediates(x) ? x.fields.immediate32() : qword(x, 1, source).trunc(32);
  const { index, ones } = fieldOf(x, control);
  const mask = ones.shl(index);
  const placed = qword(x, 0, source).and(ones).shl(index);
  output(x).write([from64(x, low(x, 0).and(mask.not()).or(placed))]);
};

/** Bit fields of SSE4a (APM Vol. 4, "EXTRQ", "INSERTQ"); the upper qword of the result is undefined: 0. */
export const bitFieldMeanings: Record<string, Emitter> = { EXTRQ, INSERTQ };
