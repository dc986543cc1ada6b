import type { Val } from '@nestvm/emit';
import { type Context, Vector } from '../context.js';
import { FLAGS_OFFSET } from './format.js';

/** MXCSR with nothing but rounding to nearest in force and the precision exception already recorded: then an inexact result leaves no trace. */
export const isQuiet = (mxcsr: Val<32>): Val<32> => mxcsr.and(0xffe0).eq(0x1fa0);

/**
 * Goes the exact way, which reports exceptions, unless the fast one can be trusted; engines that have another one for what is rare leave it to that. Nothing has been
 * written yet, and memory operands have been read.
 */
export function exactlyUnless(x: Context, fast: Val<32>, exactly: () => void): void {
  const { code, engine } = x;
  if (engine.giveUp) return code.rarely(fast.isZero(), () => engine.giveUp?.(x));
  code.if(fast.isZero(), () => {
    collectExceptions(x);
    exactly();
  });
}

/** Starts to collect exceptions. Memory operands must have been read. */
export function collectExceptions(x: Context): void {
  x.writeState(32, FLAGS_OFFSET, x.const(32, 0));
}

/**
 * Records the collected exceptions in MXCSR; an unmasked one raises #XM and leaves. An unmasked exception of operands (invalid, denormal,
 * divide by zero) hides those of results (SDM Vol. 1, "SIMD Floating-Point Exception Conditions").
 */
export function commitExceptions(x: Context): void {
  const { code } = x;
  const mxcsr = x.get32('mxcsr');
  const flags = x.readState(32, FLAGS_OFFSET);
  const unmasked = flags.and(mxcsr.shrU(7).not());
  code.if(unmasked, () => {
    x.set32('mxcsr', mxcsr.or(code.select(unmasked.and(7), flags.and(7), flags)));
    x.engine.fault(x, Vector.XM);
  });
  x.set32('mxcsr', mxcsr.or(flags));
}
