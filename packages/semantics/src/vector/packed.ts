import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { inputs, isMmx, output } from './operand.js';

/** The pure result of two chunks. */
export type Binary = (x: Context, a: Val<128>, b: Val<128>, chunk: number) => Val<128>;
/** The pure result of one chunk. */
type Unary = (x: Context, a: Val<128>, chunk: number) => Val<128>;

/** An instruction that makes each 128-bit chunk of its destination from the same chunks of two sources: `Vx:rw Wx`, `Vx:w Hx Wx`, `Pq:rw Qq`. */
export function packed(body: Binary, mmx: Binary = body): Emitter {
  return (x) => {
    const [first, second] = inputs(x);
    const b = second!.read();
    const a = first!.read();
    const chosen = isMmx(x) ? mmx : body;
    output(x).write(a.map((value, i) => chosen(x, value, b[i] as Val<128>, i)));
  };
}

/** An instruction that makes each chunk of its destination from one source's. */
export function packedUnary(body: Unary): Emitter {
  return (x) =>
    output(x).write(
      inputs(x)[0]!
        .read()
        .map((value, i) => body(x, value, i)),
    );
}

/** A WebAssembly instruction of two vectors as a meaning. */
export const packedOp = (name: string): Emitter => packed((x, a, b) => x.code.op(name, 128, a, b));
/** The same with the operands exchanged. */
export const packedOpReversed = (name: string): Emitter => packed((x, a, b) => x.code.op(name, 128, b, a));
