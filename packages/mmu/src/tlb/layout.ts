/** Entries of one TLB table; the index is bits 21:12 of the linear address. */
export const TLB_ENTRIES = 1024;
/** Bytes of an entry: tag i64, addend i32, physical page u32. */
export const TLB_ENTRY_BYTES = 16;
/** Bytes of a table. */
export const TLB_TABLE_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;

/**
 * Entries of a second-level table, which is asked when its first-level one misses. It holds all that was filled, at an index that mixes higher address
 * bits in, so that pages which lie 4 MiB apart do not drive each other out.
 */
export const SECOND_TLB_ENTRIES = 2048;
const SECOND_TABLE_BYTES = SECOND_TLB_ENTRIES * TLB_ENTRY_BYTES;
/** Bytes of a bank: three tables, then their second levels. */
export const TLB_BANK_BYTES = 3 * (TLB_TABLE_BYTES + SECOND_TABLE_BYTES);

/** Byte offset of a table's second level from the table itself. */
export const secondTlbOffset = (table: number): number => (3 - table) * TLB_TABLE_BYTES + table * SECOND_TABLE_BYTES;

/** Index of a page in a second-level table, from the low half of its linear address. */
export const secondTlbIndex = (lo: number): number => ((lo >>> 12) ^ (lo >>> 22)) & (SECOND_TLB_ENTRIES - 1);

/** The tables of a bank, in order. */
export const TlbTable = { READ: 0, WRITE: 1, EXEC: 2 } as const;

/**
 * Byte offsets in an entry. `TAG`: linear page address, -1 when invalid. `ADDEND`: arena offset = low 32 bits of the linear address + addend.
 * `PAGE`: physical page number, low 32 bits.
 */
export const TlbEntry = { TAG: 0, ADDEND: 8, PAGE: 12 } as const;

/** In the addend of a second-level entry of the write table: the translation holds, but its page is of code, and who writes to it must look where. */
export const TRAPPING = 1;
