import { updateModeBits } from '../mode.js';
import { BND_CFG_U, BND_STATUS, BOUNDS } from '../words.js';
import type { QuadComponent } from '../xstate/quads.js';

/** Bound registers, each a lower and an upper bound. */
export const BOUND_REGISTERS = 4;

/**
 * The two components of MPX (SDM Vol. 1, "MPX State"). What XRSTOR puts into reserved bits of BNDCFGU is kept and means nothing; an address of a directory that is not
 * canonical faults when it is used.
 */
export const mpxComponents: readonly QuadComponent[] = [
  { number: 3, registers: Array.from({ length: 2 * BOUND_REGISTERS }, (_, i) => BOUNDS + 2 * i), changed: updateModeBits },
  { number: 4, registers: [BND_CFG_U, BND_STATUS], changed: updateModeBits },
];
