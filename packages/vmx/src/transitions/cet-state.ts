import { word } from '@nestvm/cpu/extension';
import { Entry, Exit } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import type { Vmx } from '../vmx.js';
import { copyQuad } from './copy-quad.js';

/** The CET state of a transition, and where it lives: IA32_S_CET, SSP, IA32_INTERRUPT_SSP_TABLE_ADDR (SDM Vol. 3, "Guest Register State"). */
const homes = [word('sCet'), word('ssp'), word('interruptSspTable')] as const;
const guest = [F.GUEST_IA32_S_CET, F.GUEST_SSP, F.GUEST_SSP_TABLE] as const;
const host = [F.HOST_IA32_S_CET, F.HOST_SSP, F.HOST_SSP_TABLE] as const;

function load(vmx: Vmx, fields: readonly number[]): void {
  const { i32, region, cpu } = vmx;
  for (let i = 0; i < homes.length; i++) copyQuad(cpu.w, homes[i]!, i32, region + fields[i]!);
}

/** VM entry, under “load CET state”. */
export const loadGuestCet = (vmx: Vmx): void => {
  if (vmx.controls.hasEntry(Entry.LOAD_CET)) load(vmx, guest);
};

/** VM exit, under “load CET state”. */
export const loadHostCet = (vmx: Vmx): void => {
  if (vmx.controls.hasExit(Exit.LOAD_CET)) load(vmx, host);
};

/** VM exit saves it wherever VM entry could load it. */
export function saveGuestCet(vmx: Vmx): void {
  const { i32, region, cpu, capabilities } = vmx;
  if ((capabilities.controls.entry.may & Entry.LOAD_CET) === 0) return;
  for (let i = 0; i < homes.length; i++) copyQuad(i32, region + guest[i]!, cpu.w, homes[i]!);
}
