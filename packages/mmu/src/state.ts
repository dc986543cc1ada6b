import { array, struct, u64 } from '@nestvm/state';

/** What the MMU of one vCPU keeps besides the control registers: the four page-directory-pointer-table entries that PAE paging loads with CR3. */
export const mmuState = struct('mmu', 1, {
  pdpte: array(u64, 4),
});
