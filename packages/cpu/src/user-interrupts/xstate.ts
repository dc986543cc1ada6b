import { isCanonical } from '../mode.js';
import { UIF, UINTR_DESCRIPTOR, UINTR_HANDLER, UINTR_MISC, UINTR_REQUESTS, UINTR_STACK_ADJUST, UINTR_TARGETS } from '../words.js';
import type { QuadComponent } from '../xstate/quads.js';

/** Registers that are addresses, with the reserved bits of their low halves, as WRMSR knows them. */
const ADDRESSES: Readonly<Record<number, number>> = { [UINTR_HANDLER]: 0, [UINTR_STACK_ADJUST]: 6, [UINTR_DESCRIPTOR]: 0x3f, [UINTR_TARGETS]: 0xe };

/**
 * The component of user interrupts (SDM Vol. 1, "User-Interrupt State"): its third part has UIF in bit 63, above the notification vector, and XRSTORS loads it only
 * while there is no such vector. After XSAVES no notification is recognized until the state is loaded again.
 */
export const userInterruptComponent: QuadComponent = {
  number: 14,
  registers: [UINTR_HANDLER, UINTR_STACK_ADJUST, UINTR_MISC, UINTR_DESCRIPTOR, UINTR_REQUESTS, UINTR_TARGETS],
  flag: { register: 2, word: UIF, rest: 0xff },
  allow: (cpu, register, lo, hi) => {
    const reserved = ADDRESSES[register];
    return reserved === undefined || ((lo & reserved) === 0 && isCanonical(cpu, hi));
  },
  ready: ({ w }) => w[UINTR_MISC + 1] === 0,
  saved: ({ w }) => void (w[UINTR_MISC + 1] = 0),
  changed: (cpu) => cpu.requestAttention(),
};
