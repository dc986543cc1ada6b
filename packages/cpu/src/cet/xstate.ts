import { isCanonical } from '../mode.js';
import { isCetControl } from '../msr/cet.js';
import type { Vcpu } from '../vcpu.js';
import { PL_SSP, U_CET } from '../words.js';
import type { QuadComponent } from '../xstate/quads.js';

/** As WRMSR would judge it. */
function allow(cpu: Vcpu, register: number, lo: number, hi: number): boolean {
  if (!isCanonical(cpu, hi)) return false;
  return register === U_CET ? isCetControl(cpu, lo, hi) : (lo & 3) === 0;
}

/** The two components of CET: what user mode uses, and the shadow-stack pointers of the other levels (SDM Vol. 1, "CET State"). */
export const cetComponents: readonly QuadComponent[] = [
  { number: 11, registers: [U_CET, PL_SSP + 6], allow },
  { number: 12, registers: [PL_SSP, PL_SSP + 2, PL_SSP + 4], allow },
];
