import { FLASH_BLOCK_BYTES, FLASH_BUFFER_BYTES } from './registers.js';

/** Where the parts of the table begin, and the primary extended table behind it. */
const QUERY = 0x10;
const EXTENDED = 0x31;
const TABLE_BYTES = 0x52;

/**
 * What a flash says of itself in query mode ("Common Flash Interface (CFI)", JESD68: CFI Query Identification String, System Interface Information, Device
 * Geometry Definition), by offset.
 */
export function flashQuery(sizeBytes: number): Uint8Array {
  const blocks = sizeBytes / FLASH_BLOCK_BYTES - 1;
  const table = new Uint8Array(TABLE_BYTES);
  const word = (value: number): number[] => [value & 0xff, value >>> 8];
  // biome-ignore-start format: a table, a part of the standard's a line
  table.set(
    [
      ...text('QRY'),
      ...word(0x0001),
      ...word(EXTENDED),
      ...word(0),
      ...word(0),
      // Volts and their tenths; powers of two of the usual times, and how much longer they are at most.
      0x45,
      0x55,
      0x00,
      0x00,
      0x07,
      0x07,
      0x0a,
      0x00,
      0x04,
      0x04,
      0x04,
      0x00,
      // Size, interface for 8 and 16 bits, write buffer; one region of equal blocks, whose size counts 256 bytes.
      Math.ceil(Math.log2(sizeBytes)),
      ...word(2),
      ...word(Math.log2(FLASH_BUFFER_BYTES)),
      0x01,
      ...word(blocks),
      ...word(FLASH_BLOCK_BYTES / 256),
    ],
    QUERY,
  );
  // No optional commands; version 1.0 of Intel's extension.
  table.set([...text('PRI'), ...text('10')], EXTENDED);
  // biome-ignore-end format: a table, a part of the standard's a line
  return table;
}

const text = (characters: string): number[] => Array.from(characters, (character) => character.charCodeAt(0));
