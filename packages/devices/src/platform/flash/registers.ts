/** Commands of Intel's command set for parallel flash ("Intel StrataFlash Memory (J3)", Command Definitions). */
export const FlashCommand = {
  PROGRAM: 0x10,
  ERASE: 0x20,
  PROGRAM_WORD: 0x40,
  CLEAR_STATUS: 0x50,
  LOCK: 0x60,
  STATUS: 0x70,
  IDENTIFIER: 0x90,
  QUERY: 0x98,
  CONFIRM: 0xd0,
  BUFFER: 0xe8,
  ARRAY_INTEL: 0xf0,
  ARRAY: 0xff,
} as const;

/** Bits of the status register. */
export const FlashStatus = { READY: 0x80, ERASE_ERROR: 0x20, PROGRAM_ERROR: 0x10 } as const;

/** What is erased at once. */
export const FLASH_BLOCK_BYTES = 4096;
/** What the write buffer holds, as the query table says it: a power of two. */
export const FLASH_BUFFER_BYTES = 2048;

/** Manufacturer (Intel) and device codes, which the identifier mode shows. */
export const FLASH_IDENTIFIER = [0x89, 0x18] as const;
