import type { IntWidth, Val } from '@nestvm/emit';
import { Gpr, Segment } from '@nestvm/isa';
import type { Context } from './context.js';

const STACK_SEGMENT = Segment.SS;

/** Linear address of an offset in the stack segment. */
export function stackLinear(x: Context, offset: Val<64>, bytes: number, access: 0 | 1): Val<64> {
  const { stackSize, stackSegment } = x.facts;
  const cut = stackSize === 64 ? offset : offset.and(stackSize === 32 ? 0xffffffffn : 0xffffn);
  return stackSegment === 'none' ? cut : x.engine.checkSegment(x, x.const(32, STACK_SEGMENT), cut.trunc(32), bytes, access);
}

/** The stack pointer, as 64 bits. */
export const stackPointer = (x: Context): Val<64> => x.gpr(x.facts.stackSize, Gpr.RSP).zext(64);

/** Sets the stack pointer at the stack's size; the rest of RSP stays (16 bits) or is cleared (32 bits). */
export const setStackPointer = (x: Context, value: Val<64>): void =>
  x.setGpr(x.facts.stackSize, Gpr.RSP, value.trunc(x.facts.stackSize) as Val<IntWidth>);

/** Pushes a value; RSP moves after the store, so that a fault leaves it. */
export function push(x: Context, value: Val<IntWidth>): void {
  const bytes = value.width / 8;
  const pointer = stackPointer(x).sub(bytes);
  x.engine.store(x, value.width, stackLinear(x, pointer, bytes, 1), value);
  setStackPointer(x, pointer);
}

/** The value at `depth` bytes above the stack pointer; RSP does not move. */
export function peek<W extends IntWidth>(x: Context, width: W, depth = 0): Val<W> {
  return x.engine.load(x, width, stackLinear(x, stackPointer(x).add(depth), width / 8, 0));
}

/** Moves RSP up. */
export const release = (x: Context, bytes: Val<64> | number): void => setStackPointer(x, stackPointer(x).add(bytes));
