import type { Vcpu } from '../vcpu.js';
import { GUEST_MODE, TSC_OFFSET, word } from '../words.js';

const TSC_ADJUST = word('tscAdjust');
const TWO_32 = 4294967296;

/** Nanoseconds since power-on as an int32 pair in `cpu.lo`/`cpu.hi`: the TSC before any offset, since it counts at 1 GHz. */
function rawTime(cpu: Vcpu): void {
  const now = cpu.clock.nowNs();
  cpu.lo = now | 0;
  // `now` is beyond int32: take the low word by remainder, which is exact.
  if (now >= TWO_32) cpu.lo = (now % TWO_32) | 0;
  cpu.hi = (now / TWO_32) | 0;
}

function add(cpu: Vcpu, lo: number, hi: number): void {
  const sum = (cpu.lo + lo) | 0;
  cpu.hi = (cpu.hi + hi + (sum >>> 0 < lo >>> 0 ? 1 : 0)) | 0;
  cpu.lo = sum;
}

/** The time-stamp counter of this vCPU itself in `cpu.lo`/`cpu.hi`. */
export function readHostTsc(cpu: Vcpu): void {
  rawTime(cpu);
  add(cpu, cpu.w[TSC_OFFSET]!, cpu.w[TSC_OFFSET + 1]!);
}

/** The time-stamp counter as RDTSC shows it, with the hypervisor's offset in guest mode, in `cpu.lo`/`cpu.hi`. */
export function readTsc(cpu: Vcpu): void {
  readHostTsc(cpu);
  const { virtualization } = cpu;
  if (cpu.w[GUEST_MODE] === 0 || virtualization === null) return;
  virtualization.scaleTsc?.(cpu);
  add(cpu, virtualization.tscOffsetLo, virtualization.tscOffsetHi);
}

/** Moves the TSC and IA32_TSC_ADJUST by the same distance. */
function moveTsc(cpu: Vcpu, lo: number, hi: number): void {
  const w = cpu.w;
  for (const at of [TSC_OFFSET, TSC_ADJUST]) {
    const sum = (w[at]! + lo) | 0;
    w[at + 1] = (w[at + 1]! + hi + (sum >>> 0 < lo >>> 0 ? 1 : 0)) | 0;
    w[at] = sum;
  }
}

/** WRMSR to IA32_TIME_STAMP_COUNTER: IA32_TSC_ADJUST follows (SDM Vol. 3, "Time-Stamp Counter Adjustment"). */
export function writeTsc(cpu: Vcpu, lo: number, hi: number): boolean {
  readHostTsc(cpu);
  const low = (lo - cpu.lo) | 0;
  moveTsc(cpu, low, (hi - cpu.hi - (lo >>> 0 < cpu.lo >>> 0 ? 1 : 0)) | 0);
  return true;
}

/** WRMSR to IA32_TSC_ADJUST: the TSC moves by the difference. */
export function writeTscAdjust(cpu: Vcpu, lo: number, hi: number): boolean {
  const w = cpu.w;
  const old = w[TSC_ADJUST]!;
  const low = (lo - old) | 0;
  moveTsc(cpu, low, (hi - w[TSC_ADJUST + 1]! - (lo >>> 0 < old >>> 0 ? 1 : 0)) | 0);
  return true;
}
