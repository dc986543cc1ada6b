import type { PhysicalMemory } from '@nestvm/memory';

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
}

/** Why `translate` said false: a page fault for the guest, or something that the second stage has noted. */
export const TranslationFault = { NONE: 0, PAGE_FAULT: 1, SECOND_STAGE: 2 } as const;
