import type { SvmContext } from '../context.js';
import { TSC_RATIO } from '../words.js';

/** Bits 63:32 of the product of two unsigned 32-bit numbers, as int32. */
function multiplyHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const middle = ah * bl + ((al * bl) >>> 16);
  const cross = al * bh + (middle & 0xffff);
  return (ah * bh + Math.floor(middle / 65536) + Math.floor(cross / 65536)) | 0;
}

/** Multiplies the TSC in `cpu.lo`/`cpu.hi` by the 8.32 fixed-point number in TSC_RATIO (APM Vol. 2, "TSC Ratio MSR"). */
export function scaleTsc(svm: SvmContext): void {
  const { cpu } = svm;
  const { w } = cpu;
  const fraction = w[TSC_RATIO]!;
  const whole = w[TSC_RATIO + 1]! & 0xff;
  if (whole === 1 && fraction === 0) return;
  const { lo, hi } = cpu;
  // (hi:lo × whole) + hi × fraction + high half of (lo × fraction), modulo 2^64.
  const first = Math.imul(lo, whole);
  const second = Math.imul(hi, fraction);
  const third = multiplyHigh(lo, fraction);
  const low = (first >>> 0) + (second >>> 0) + (third >>> 0);
  cpu.lo = low | 0;
  cpu.hi = (multiplyHigh(lo, whole) + Math.imul(hi, whole) + multiplyHigh(hi, fraction) + Math.floor(low / 4294967296)) | 0;
}

/** Nanoseconds of so many ticks of the guest's TSC. */
export function unscaleTicks({ cpu }: SvmContext, ticks: number): number {
  const ratio = (cpu.w[TSC_RATIO + 1]! & 0xff) + (cpu.w[TSC_RATIO]! >>> 0) / 4294967296;
  return ratio === 0 ? Number.MAX_SAFE_INTEGER : ticks / ratio;
}
