import { Xstate } from '@nestvm/isa';
import { isCanonical } from '../mode.js';
import type { Vcpu } from '../vcpu.js';
import { UIF, UINTR_DESCRIPTOR, UINTR_HANDLER, UINTR_MISC, UINTR_REQUESTS, UINTR_STACK_ADJUST, UINTR_TARGETS } from '../words.js';

/** Number of the XSAVE component, and its 64-bit parts in order (SDM Vol. 1, "User-Interrupt State"). */
export const UINTR_COMPONENT = 14;
const PARTS = [UINTR_HANDLER, UINTR_STACK_ADJUST, UINTR_MISC, UINTR_DESCRIPTOR, UINTR_REQUESTS, UINTR_TARGETS];
/** The third part has UIF in its bit 63, above the notification vector. */
const MISC = PARTS.indexOf(UINTR_MISC);
/** Reserved bits of the low halves, as WRMSR knows them. */
const RESERVED = [0, 6, 0, 0x3f, 0, 0xe];
/** Parts that are addresses. */
const IS_ADDRESS = [true, true, false, true, false, true];

/** The component's bit, unless it is in its initial configuration. */
export const uintrInUse = (w: Int32Array): number => (w[UIF] === 0 && PARTS.every((at) => w[at] === 0 && w[at + 1] === 0) ? 0 : Xstate.UINTR);

/** Writes the component at a byte offset of an XSAVE area. */
export function putUintr(w: Int32Array, area: Int32Array, at: number): void {
  PARTS.forEach((part, i) => {
    area[(at >>> 2) + 2 * i] = w[part]!;
    area[(at >>> 2) + 2 * i + 1] = i === MISC ? w[part + 1]! | (w[UIF]! << 31) : w[part + 1]!;
  });
}

/** After XSAVES has saved it: no notification is recognized until the state is loaded again. */
export function forgetNotification(w: Int32Array): void {
  w[UINTR_MISC + 1] = 0;
}

/** Loads the component. */
export function takeUintr(cpu: Vcpu, area: Int32Array, at: number): void {
  const { w } = cpu;
  PARTS.forEach((part, i) => {
    const hi = area[(at >>> 2) + 2 * i + 1]!;
    w[part] = area[(at >>> 2) + 2 * i]!;
    w[part + 1] = i === MISC ? hi & 0xff : hi;
    if (i === MISC) w[UIF] = hi >>> 31;
  });
  cpu.requestAttention();
}

export function clearUintr(w: Int32Array): void {
  for (const part of PARTS) w.fill(0, part, part + 2);
  w[UIF] = 0;
}

/** Whether XRSTORS may load what the component holds: UINV has to be 0 before, and reserved bits are. */
export function isUintrGood(cpu: Vcpu, area: Int32Array, at: number): boolean {
  if (cpu.w[UINTR_MISC + 1] !== 0) return false;
  return PARTS.every((_, i) => {
    const lo = area[(at >>> 2) + 2 * i]!;
    const hi = area[(at >>> 2) + 2 * i + 1]!;
    if (i === MISC) return (hi & 0x7fff_ff00) === 0;
    return (lo & RESERVED[i]!) === 0 && (!IS_ADDRESS[i]! || isCanonical(cpu, hi));
  });
}
