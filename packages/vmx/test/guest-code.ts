import { arrangeControl } from '../src/checks/arrange.js';
import type { ControlGroupKey } from '../src/controls/controls.js';
import { F } from '../src/fields/layout.js';
import { type Level, Place } from './level.js';

/** Where tests put L2's descriptor tables, and the handler that its gates lead to. */
export const HANDLER = 0x3_6000;
export const IDT = 0x3_7000;
export const GDT = 0x3_8000;

/** Switches controls on, by group and name: `proc2.ENABLE_EPT`. */
export function switchOn(level: Level, ...names: readonly string[]): void {
  for (const name of names) arrangeControl(level.c, ...(name.split('.') as [ControlGroupKey, string]), true);
}

/** Runs code as L2 from a fresh stack, with these flags and VMCALL behind it; the exit reason, or the error negated. */
export function run(level: Level, code: string, flags = 2): number {
  level.c.set(F.GUEST_RIP, Place.L2);
  level.c.set(F.GUEST_RSP, Place.L2_STACK);
  level.c.set(F.GUEST_RFLAGS, flags);
  level.guest((a) => a.text(`${code}\nvmcall`));
  return level.enter();
}

/** Gates of L2's IDT to a handler that ends in VMCALL, and the code segment that they name. The limits are the test's. */
export function arrangeGates({ memory, c }: Level, vectors: Iterable<number>): void {
  for (const vector of vectors) {
    memory.write32(IDT + 16 * vector, 0x0008_0000 | (HANDLER & 0xffff));
    memory.write32(IDT + 16 * vector + 4, (HANDLER & 0xffff_0000) | 0x8e00);
  }
  memory.write32(GDT + 12, 0x0020_9b00);
  memory.write(HANDLER, Uint8Array.of(0x0f, 0x01, 0xc1));
  c.set(F.GUEST_IDTR_BASE, IDT);
  c.set(F.GUEST_GDTR_BASE, GDT);
}
