import { Cr4, Mode, Rflags, Vector } from '@nestvm/isa';
import { awaitEndbranch, hasShadowStack } from '../cet/state.js';
import { deliverFault } from '../events/deliver.js';
import { isCanonical, Shadow, updateMode } from '../mode.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, GPR, INTERRUPTIBILITY, MODE, RFLAGS, RIP, UIF, UINTR_HANDLER, UINTR_REQUESTS, UINTR_STACK_ADJUST } from '../words.js';

const RSP = GPR + 8;
/** UISTACKADJUST: the value is a stack pointer, not a distance. */
const LOAD = 1;

/** Highest request, or -1. */
function highest(w: Int32Array): number {
  const hi = w[UINTR_REQUESTS + 1]!;
  const lo = w[UINTR_REQUESTS]!;
  if (hi !== 0) return 63 - Math.clz32(hi);
  return lo === 0 ? -1 : 31 - Math.clz32(lo);
}

/** Where the frame begins: on another stack, or so many bytes below RSP; 16-byte aligned. Into `cpu.lo`/`cpu.hi`. */
function frameTop(cpu: Vcpu): void {
  const { w } = cpu;
  const lo = w[UINTR_STACK_ADJUST]!;
  const hi = w[UINTR_STACK_ADJUST + 1]!;
  if ((lo & LOAD) !== 0) {
    cpu.lo = lo & ~15;
    cpu.hi = hi;
    return;
  }
  cpu.hi = (w[RSP + 1]! - hi - (w[RSP]! >>> 0 < lo >>> 0 ? 1 : 0)) | 0;
  cpu.lo = (w[RSP]! - lo) & ~15;
}

/** Pushes RSP, RFLAGS, RIP and the vector, and goes to the handler; false when a fault was recorded and nothing but stack memory has changed. */
function enterHandler(cpu: Vcpu, vector: number): boolean {
  const { w, stack } = cpu;
  if (!isCanonical(cpu, w[UINTR_HANDLER + 1]!)) return cpu.fail(Vector.GP, 0);
  frameTop(cpu);
  stack.openLong(cpu.lo, cpu.hi, true);
  if (!stack.push(8, w[RSP]!, w[RSP + 1]!) || !stack.push(8, cpu.readRflags(), 0)) return false;
  if (!stack.push(8, w[RIP]!, w[RIP + 1]!) || !stack.push(8, vector, 0)) return false;
  if (hasShadowStack(cpu, 3)) {
    cpu.shadowStack.open(3);
    if (!cpu.shadowStack.push(8, w[RIP]!, w[RIP + 1]!)) return false;
    cpu.shadowStack.commit();
  }
  stack.commit();
  awaitEndbranch(cpu, 3);
  w[RIP] = w[UINTR_HANDLER]!;
  w[RIP + 1] = w[UINTR_HANDLER + 1]!;
  w[RFLAGS] = w[RFLAGS]! & ~(Rflags.TF | Rflags.RF);
  return true;
}

/** Whether a pending user interrupt may be delivered now, but for the requests themselves. */
const isOpen = ({ w }: Vcpu): boolean =>
  w[UIF] !== 0 &&
  (w[CR4]! & Cr4.UINTR) !== 0 &&
  (w[MODE]! & (Mode.LONG | Mode.USER)) === (Mode.LONG | Mode.USER) &&
  (w[INTERRUPTIBILITY]! & (Shadow.STI | Shadow.MOV_SS)) === 0;

/** Delivers the highest user interrupt that waits (SDM Vol. 3, "User-Interrupt Delivery"); false when none may be. */
export function deliverUserInterrupt(cpu: Vcpu): boolean {
  const { w } = cpu;
  const vector = highest(w);
  if (vector < 0 || !isOpen(cpu)) return false;
  if (!enterHandler(cpu, vector)) {
    deliverFault(cpu);
    return true;
  }
  const at = UINTR_REQUESTS + (vector >>> 5);
  w[at] = w[at]! & ~(1 << (vector & 31));
  w[UIF] = 0;
  updateMode(cpu);
  return true;
}
