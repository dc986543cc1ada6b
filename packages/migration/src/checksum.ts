import { Folding } from './folding.js';

/** CRC-32 (IEEE 802.3), eight bytes at a time by tables. */
const TABLES = makeTables();

function makeTables(): Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    return crc >>> 0;
  });
  const tables = [first];
  for (let i = 1; i < 8; i++) tables.push(tables[i - 1]!.map((crc) => (crc >>> 8) ^ first[crc & 0xff]!));
  return tables;
}

const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];

/** From so many bytes on folding is faster than tables. */
const FOLD_FROM_BYTES = 1024;
let folding: Folding | null | undefined;

/** What folds; null on hosts that can't. */
function fold(): Folding | null {
  if (folding !== undefined) return folding;
  try {
    folding = new Folding();
  } catch {
    folding = null;
  }
  return folding;
}

/** CRC-32 of `bytes`, continued from `seed`, the CRC of what came before. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  const folds = bytes.length >= FOLD_FROM_BYTES ? fold() : null;
  return folds === null ? byTables(bytes, seed) : byTables(folds.shorten(bytes, ~seed), ~0);
}

/** The same eight bytes at a time by tables. */
export function byTables(bytes: Uint8Array, seed: number): number {
  let crc = ~seed;
  let i = 0;
  for (; i + 8 <= bytes.length; i += 8) {
    const low = crc ^ (bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24));
    crc =
      T7[low & 0xff]! ^
      T6[(low >>> 8) & 0xff]! ^
      T5[(low >>> 16) & 0xff]! ^
      T4[low >>> 24]! ^
      T3[bytes[i + 4]!]! ^
      T2[bytes[i + 5]!]! ^
      T1[bytes[i + 6]!]! ^
      T0[bytes[i + 7]!]!;
  }
  for (; i < bytes.length; i++) crc = (crc >>> 8) ^ T0[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}
