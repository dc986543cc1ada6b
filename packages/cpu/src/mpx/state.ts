import { BoundConfig, Cr4, Mode, Xstate } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { BND_CFG_S, BND_CFG_U, BND_STATUS, BOUNDS, CPL, CR4, XCR0 } from '../words.js';

const BOTH = Xstate.BNDREGS | Xstate.BNDCSR;
const BOUND_WORDS = 16;

/** Word of BNDCFGU or IA32_BNDCFGS: the one that governs a privilege level. */
export const boundConfig = (cpl: number): number => (cpl === 3 ? BND_CFG_U : BND_CFG_S);

/** The `Mode` bits of MPX at the present CPL (SDM Vol. 1, "Enabling of Intel MPX States"), given that XCR0 may have its components. */
export function mpxMode(w: Int32Array): number {
  if ((w[XCR0]! & BOTH) !== BOTH || (w[CR4]! & Cr4.OSXSAVE) === 0) return 0;
  const config = w[boundConfig(w[CPL]!)]!;
  if ((config & BoundConfig.EN) === 0) return 0;
  if ((config & BoundConfig.PRESERVE) !== 0) return Mode.MPX;
  for (let i = 0; i < BOUND_WORDS; i++) if (w[BOUNDS + i] !== 0) return Mode.MPX | Mode.BOUNDS;
  return Mode.MPX;
}

/** All bounds as they are at first: everything is inside of them. The caller calls `updateMode`. */
export const forgetBounds = (w: Int32Array): void => void w.fill(0, BOUNDS, BOUNDS + BOUND_WORDS);

/** RESET and INIT: no bounds, and MPX off (SDM Vol. 3, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"). */
export function resetMpx({ w }: Vcpu): void {
  forgetBounds(w);
  for (const at of [BND_CFG_U, BND_STATUS, BND_CFG_S]) w.fill(0, at, at + 2);
}
