import type { Vcpu } from '@nestvm/cpu';
import type { SvmContext } from '../context.js';

/** What the checks of VMRUN look at: a VMCB at word `v` of the arena, and the processor. */
export interface VmrunView {
  readonly i32: Int32Array;
  readonly cpu: Vcpu;
  readonly svm: SvmContext;
  v: number;
  /** Whether every check of the VMCB in view holds: what VMRUN asks. */
  readonly isConsistent: () => boolean;
}

/** A 64-bit field as text. */
export function hex64(c: VmrunView, word: number): string {
  const hi = c.i32[c.v + word + 1]! >>> 0;
  const lo = (c.i32[c.v + word]! >>> 0).toString(16);
  return hi === 0 ? `0x${lo}` : `0x${hi.toString(16)}${lo.padStart(8, '0')}`;
}

/** A 32-bit word as text. */
export const hex32 = (c: VmrunView, word: number): string => `0x${(c.i32[c.v + word]! >>> 0).toString(16)}`;
