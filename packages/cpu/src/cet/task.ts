import { CetControl, ControlProtection, Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { CPL, MODE, RFLAGS, RIP, SEG_BASE, SEG_SELECTOR, SSP } from '../words.js';
import { keepUserPointer, takeShadowStack } from './frames.js';
import { awaitEndbranch, cetControl, hasShadowStack } from './state.js';

const BUSY = 1;

/** What the shadow stack of the outgoing task leaves for the incoming one (SDM Vol. 3, "Task Switching"). */
export interface TaskShadow {
  /** A frame of the old task goes onto the new one's shadow stack: CS, linear return address, SSP. */
  readonly pushes: boolean;
  /** A frame came from the old shadow stack, to be compared with the new task's CS:EIP. */
  readonly compares: boolean;
  readonly cs: number;
  readonly linear: number;
  /** The upper halves of what came, all 0 when it is sound. */
  readonly upper: number;
  readonly pointerLo: number;
  readonly pointerHi: number;
}

/** The outgoing side of a CALL, or of an event, that resumes at `ip`. */
export function leaveByCall(cpu: Vcpu, ip: number, newCpl: number): TaskShadow | null {
  const w = cpu.w;
  if ((w[MODE]! & Mode.SHADOW_STACK) === 0) return null;
  const toInner = newCpl < w[CPL]! && w[CPL] === 3;
  if (toInner) keepUserPointer(cpu);
  const linear = (ip + w[SEG_BASE + 2 * Segment.CS]!) | 0;
  return {
    pushes: !toInner,
    compares: false,
    cs: cpu.h[SEG_SELECTOR + Segment.CS]!,
    linear,
    upper: 0,
    pointerLo: w[SSP]!,
    pointerHi: w[SSP + 1]!,
  };
}

/** The outgoing side of IRET: pops the frame and frees the stack. Undefined: a fault was recorded, and nothing has changed. */
export function leaveByReturn(cpu: Vcpu, newCpl: number): TaskShadow | null | undefined {
  const w = cpu.w;
  if ((w[MODE]! & Mode.SHADOW_STACK) === 0) return null;
  const { shadowStack } = cpu;
  shadowStack.open(w[CPL]!);
  const read: number[] = [];
  const compares = newCpl === w[CPL] || newCpl < 3;
  for (let i = 0; compares && i < 3; i++) {
    if (!shadowStack.pop(8)) return undefined;
    read.push(cpu.lo, cpu.hi);
  }
  const { lo, hi } = shadowStack;
  if (shadowStack.exchange(lo | BUSY, hi, lo, hi) < 0) return undefined;
  w[SSP] = 0;
  w[SSP + 1] = 0;
  const [pointerLo = cpu.get32('plSsp', 6), pointerHi = cpu.get32('plSsp', 7), linear = 0, linearHi = 0, cs = 0, csHi = 0] = read;
  return { pushes: false, compares, cs, linear, upper: linearHi | csHi, pointerLo: pointerLo | 0, pointerHi: pointerHi | 0 };
}

/** Virtual-8086 mode knows neither shadow stacks nor tracking: #TS of the new task when level 3 has them. */
export function virtualTaskIsPlain(cpu: Vcpu, error: number): boolean {
  const on = cetControl(cpu, 3) & (CetControl.SH_STK_EN | CetControl.ENDBR_EN);
  return (cpu.w[RFLAGS]! & Rflags.VM) === 0 || on === 0 ? true : cpu.fail(Vector.TS, error);
}

/** The incoming side of CALL, JMP or an event: takes the shadow stack that the TSS names. False: the new task begins with a fault. */
export function enterByCall(cpu: Vcpu, pointer: number, left: TaskShadow | null, error: number): boolean {
  const w = cpu.w;
  const cpl = w[CPL]!;
  if (hasShadowStack(cpu, cpl)) {
    const { shadowStack } = cpu;
    if (!takeShadowStack(cpu, pointer, 0, { cpl, long: false }, Vector.TS, error)) return false;
    const frame = left !== null && left.pushes;
    if (frame && !(shadowStack.push(8, left.cs, 0) && shadowStack.push(8, left.linear, 0) && shadowStack.push(8, left.pointerLo, left.pointerHi)))
      return false;
    shadowStack.commit();
  }
  awaitEndbranch(cpu, cpl);
  return true;
}

/** The incoming side of IRET: compares what the old task's frame said with CS:EIP, and takes its pointer. */
export function enterByReturn(cpu: Vcpu, left: TaskShadow | null): boolean {
  const w = cpu.w;
  if (left?.compares) {
    const linear = (w[RIP]! + w[SEG_BASE + 2 * Segment.CS]!) | 0;
    if (left.cs !== cpu.h[SEG_SELECTOR + Segment.CS] || left.linear !== linear || left.upper !== 0)
      return cpu.fail(Vector.CP, ControlProtection.FAR_RET);
  }
  if (!hasShadowStack(cpu, w[CPL]!)) return true;
  const lo = left?.pointerLo ?? cpu.get32('plSsp', 6) | 0;
  const hi = left?.pointerHi ?? cpu.get32('plSsp', 7) | 0;
  if ((lo & 3) !== 0 || hi !== 0) return cpu.fail(Vector.CP, ControlProtection.FAR_RET);
  w[SSP] = lo;
  w[SSP + 1] = hi;
  return true;
}
