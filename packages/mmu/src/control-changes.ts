import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { Context, Paging } from './context.js';

/** CR4 bits whose change invalidates every translation (SDM Vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches"); PSE and LA57 change the format. */
const CR4_FLUSH = Cr4.PSE | Cr4.PAE | Cr4.PGE | Cr4.PCIDE | Cr4.LA57;

/** True when going from the old control registers to the new ones owes a flush of all translations, global ones too. */
export function controlsOweFlush(oldCr0: number, cr0: number, oldCr4: number, cr4: number): boolean {
  if (((oldCr0 ^ cr0) & (Cr0.PG | Cr0.PE)) !== 0) return true;
  if (((oldCr4 ^ cr4) & CR4_FLUSH) !== 0) return true;
  return (oldCr4 & Cr4.SMEP) === 0 && (cr4 & Cr4.SMEP) !== 0;
}

/** Whether long mode is active, with its paging on or about to be. */
export const isLong = (context: number, efer: number): boolean => (context & Context.PAGING) >= Paging.LEVEL4 || (efer & Efer.LMA) !== 0;

/** Reserved bits of a value for CR3 in long mode, high half: those from the physical addresses' end on, and bit 63 where there are no PCIDs that it could keep. */
export const reservedOfCr3 = (beyondAddresses: number, cr4: number): number =>
  (cr4 & Cr4.PCIDE) !== 0 ? beyondAddresses : beyondAddresses | 0x8000_0000;
