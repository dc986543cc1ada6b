import { updateModeBits } from '@nestvm/cpu/extension';
import type { SvmContext } from '../context.js';

/** VMLOAD: what VMRUN leaves alone comes from the VMCB at word `v` (APM Vol. 3, VMLOAD). Addresses are made canonical. */
export function loadHidden({ cpu, transfers }: SvmContext, v: number): void {
  transfers.hiddenIn(4 * v, cpu.base);
  updateModeBits(cpu);
}

/** VMSAVE: the way back. */
export function saveHidden({ cpu, transfers }: SvmContext, v: number): void {
  transfers.hiddenOut(cpu.base, 4 * v);
}
