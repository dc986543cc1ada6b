import { Xstate } from '@nestvm/isa';
import { isCanonical } from '../mode.js';
import { isCetControl } from '../msr/cet.js';
import type { Vcpu } from '../vcpu.js';
import { PL_SSP, U_CET } from '../words.js';

/** Registers of the two XSAVE components of CET, in order, as words of the state (SDM Vol. 1, "CET State"). */
const USER = [U_CET, PL_SSP + 6];
const SUPERVISOR = [PL_SSP, PL_SSP + 2, PL_SSP + 4];

const isZero = (w: Int32Array, registers: readonly number[]): boolean => registers.every((at) => w[at] === 0 && w[at + 1] === 0);

/** Which of the two components are not in their initial configuration. */
export function cetInUse(w: Int32Array): number {
  return (isZero(w, USER) ? 0 : Xstate.CET_U) | (isZero(w, SUPERVISOR) ? 0 : Xstate.CET_S);
}

const registersOf = (component: number): readonly number[] => (component === 11 ? USER : SUPERVISOR);

/** Writes component 11 or 12 at a byte offset of an XSAVE area. */
export function putCet(w: Int32Array, area: Int32Array, component: number, at: number): void {
  registersOf(component).forEach((register, i) => {
    area[(at >>> 2) + 2 * i] = w[register]!;
    area[(at >>> 2) + 2 * i + 1] = w[register + 1]!;
  });
}

/** Loads component 11 or 12. */
export function takeCet(w: Int32Array, area: Int32Array, component: number, at: number): void {
  registersOf(component).forEach((register, i) => {
    w[register] = area[(at >>> 2) + 2 * i]!;
    w[register + 1] = area[(at >>> 2) + 2 * i + 1]!;
  });
}

export function clearCet(w: Int32Array, component: number): void {
  for (const at of registersOf(component)) w.fill(0, at, at + 2);
}

/** Whether what component 11 or 12 holds may be loaded: as WRMSR would judge it. */
export function isCetGood(cpu: Vcpu, area: Int32Array, component: number, at: number): boolean {
  return registersOf(component).every((register, i) => {
    const lo = area[(at >>> 2) + 2 * i]!;
    const hi = area[(at >>> 2) + 2 * i + 1]!;
    if (!isCanonical(cpu, hi)) return false;
    return register === U_CET ? isCetControl(cpu, lo, hi) : (lo & 3) === 0;
  });
}
