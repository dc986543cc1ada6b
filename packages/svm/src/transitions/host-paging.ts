import { CR4, EFER, word } from '@nestvm/cpu/extension';
import { Cr4, Efer } from '@nestvm/isa';
import { pagingMode, SpaceMode } from '@nestvm/mmu';
import type { SvmContext } from '../context.js';

const CR0 = word('cr0');

/** Format of nested tables: that of the host's own (APM Vol. 2, "Nested Paging and Host Paging Modes"). Called while the host's registers are in force. */
export const hostPaging = (svm: SvmContext): number => pagingMode(svm.cpu.w[CR0]!, svm.cpu.w[CR4]!, svm.cpu.w[EFER]!);

/** What of the host's registers changes the meaning of nested entries. */
export function hostSpaceModes(svm: SvmContext): number {
  const { w } = svm.cpu;
  let modes = SpaceMode.ACCESSED_DIRTY;
  if ((w[EFER]! & Efer.NXE) !== 0) modes |= SpaceMode.NX;
  if ((w[CR4]! & Cr4.PSE) !== 0) modes |= SpaceMode.PSE;
  if (svm.features.pages1g) modes |= SpaceMode.PAGES_1G;
  return modes;
}
