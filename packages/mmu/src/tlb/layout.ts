/** Entries of one TLB table; the index is bits 21:12 of the linear address. */
export const TLB_ENTRIES = 1024;
/** Bytes of an entry: tag i64, addend i32, physical page u32. */
export const TLB_ENTRY_BYTES = 16;
/** Bytes of a table, and of a bank of three. */
export const TLB_TABLE_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_BANK_BYTES = 3 * TLB_TABLE_BYTES;

/** The tables of a bank, in order. */
export const TlbTable = { READ: 0, WRITE: 1, EXEC: 2 } as const;

/**
 * Byte offsets in an entry. `TAG`: linear page address, -1 when invalid. `ADDEND`: arena offset = low 32 bits of the linear address + addend.
 * `PAGE`: physical page number, low 32 bits.
 */
export const TlbEntry = { TAG: 0, ADDEND: 8, PAGE: 12 } as const;
