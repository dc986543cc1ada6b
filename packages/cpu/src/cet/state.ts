import { CetControl, Cr0, Cr4 } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { CR0, CR4, S_CET, U_CET } from '../words.js';

/** Word of IA32_U_CET or IA32_S_CET: the one that governs a privilege level. */
const controlWord = (cpl: number): number => (cpl === 3 ? U_CET : S_CET);

/** The low half of the controls in force at a privilege level, 0 where CET is off. The caller knows that it is not virtual-8086 mode. */
export function cetControl(cpu: Vcpu, cpl: number): number {
  const w = cpu.w;
  return (w[CR4]! & Cr4.CET) !== 0 && (w[CR0]! & Cr0.PE) !== 0 ? w[controlWord(cpl)]! : 0;
}

/** Whether calls and returns at a level use a shadow stack (SDM Vol. 1, "Shadow Stacks"). */
export const hasShadowStack = (cpu: Vcpu, cpl: number): boolean => (cetControl(cpu, cpl) & CetControl.SH_STK_EN) !== 0;

/** Whether indirect branches at a level are tracked (SDM Vol. 1, "Indirect Branch Tracking"). */
const isTracked = (cpu: Vcpu, cpl: number): boolean => (cetControl(cpu, cpl) & CetControl.ENDBR_EN) !== 0;

/**
 * After a far transfer or the delivery of an event: the next instruction at `cpl` has to be an ENDBRANCH, where branches are tracked. The caller calls `updateMode`.
 */
export function awaitEndbranch(cpu: Vcpu, cpl: number): void {
  if (!isTracked(cpu, cpl)) return;
  const at = controlWord(cpl);
  cpu.w[at] = (cpu.w[at]! & ~CetControl.SUPPRESS) | CetControl.TRACKER;
}

/** Back to IDLE; `suppress`: with tracking off until the next ENDBRANCH, unless that is disabled. The caller calls `updateMode`. */
export function endTracking(cpu: Vcpu, cpl: number, suppress: boolean): void {
  const at = controlWord(cpl);
  const control = cpu.w[at]! & ~(CetControl.TRACKER | CetControl.SUPPRESS);
  cpu.w[at] = suppress && (control & CetControl.SUPPRESS_DIS) === 0 ? control | CetControl.SUPPRESS : control;
}
