import type { PhysicalMemory } from '@nestvm/memory';
import { MmuError } from './errors.js';
import type { SanitizerOptions } from './sanitizer.js';

/** Where the vCPU's state lies, and what its paging can do. */
export interface MmuOptions {
  readonly memory: PhysicalMemory;
  /** Arena offset of the `vcpuState` struct. */
  readonly vcpuBase: number;
  /** Width of physical addresses in bits, 32 to 52 (40 unless given): address bits above it are reserved. */
  readonly maxPhysicalAddress?: number;
  /** 1 GiB pages (on unless given as false). */
  readonly pages1g?: boolean;
  /** TLB banks, 2 to 64 (16 unless given). */
  readonly banks?: number;
  /** Evicts at random, as an extreme but legal TLB may: a source of 32 random bits, asked at each miss. */
  readonly evict?: () => number;
  /** Debug mode: compares every use of the TLB with a fresh walk. Slow: after each write to a table, every translation is judged again. */
  readonly sanitize?: SanitizerOptions;
}

/** Throws `MmuError` (`bad-option`) for options that make no sense. */
export function assertOptions({ maxPhysicalAddress = 40, banks = 16 }: MmuOptions): void {
  if (!(maxPhysicalAddress >= 32 && maxPhysicalAddress <= 52)) {
    throw new MmuError('bad-option', `mmu: maxPhysicalAddress is ${maxPhysicalAddress}; give 32 to 52 bits`);
  }
  if (!(banks >= 2 && banks <= 64)) throw new MmuError('bad-option', `mmu: ${banks} TLB banks; give 2 to 64`);
}

/** Why `translate` said false: a page fault for the guest, or something that the second stage has noted. */
export const TranslationFault = { NONE: 0, PAGE_FAULT: 1, SECOND_STAGE: 2 } as const;
