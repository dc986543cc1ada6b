import { CD_BLOCK_BYTES } from '../scsi/mmc-drive.js';
import { MOST_MULTIPLE, QUEUE_DEPTH } from './registers.js';

/** What a drive says of itself. */
export interface DriveFacts {
  readonly model: string;
  readonly serial: string;
  readonly revision: string;
}

/** Cylinders, heads and sectors that a disk of so many sectors claims to have. */
export interface DriveGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** Settings that the data shows. */
export interface DiskSettings {
  readonly sectors: number;
  readonly geometry: DriveGeometry;
  readonly multiple: number;
  readonly writeCache: boolean;
  /** SET FEATURES, transfer mode. */
  readonly transferMode: number;
  readonly trim: boolean;
}

const WORDS = 256;

/** 256 words of identification as bytes, by word number ("AT Attachment 8 - ATA/ATAPI Command Set", IDENTIFY DEVICE data). */
class Words {
  readonly bytes = new Uint8Array(WORDS * 2);
  readonly #view = new DataView(this.bytes.buffer);

  set(values: Readonly<Record<number, number>>): this {
    for (const [word, value] of Object.entries(values)) this.#view.setUint16(Number(word) * 2, value & 0xffff, true);
    return this;
  }

  /** Text: two letters a word, the first in the high half, padded with blanks. */
  text(word: number, words: number, text: string): this {
    for (let i = 0; i < words * 2; i++) this.bytes[word * 2 + (i ^ 1)] = text.charCodeAt(i) & 0x7f || 0x20;
    return this;
  }
}

const strings = (words: Words, { model, serial, revision }: DriveFacts): Words =>
  words.text(10, 10, serial).text(23, 4, revision).text(27, 20, model);

/** Words 63 and 88: modes that exist, and in the high half the one that is set. */
const modes = (transferMode: number): { 63: number; 88: number } => ({
  63: 0x07 | (transferMode >> 3 === 4 ? 0x100 << (transferMode & 7) : 0),
  88: 0x3f | (transferMode >> 3 === 8 ? 0x100 << (transferMode & 7) : 0),
});

/** What IDENTIFY DEVICE gives. */
export function identifyDisk(facts: DriveFacts, { sectors, geometry, multiple, writeCache, transferMode, trim }: DiskSettings): Uint8Array {
  const { cylinders, heads, sectors: perTrack } = geometry;
  const chs = cylinders * heads * perTrack;
  const short = Math.min(sectors, 0xfff_ffff);
  const low = (value: number): number => value % 0x10000;
  const high = (value: number, shift: number): number => Math.floor(value / 2 ** shift) % 0x10000;
  // biome-ignore format: the words in their order
  const words = new Words().set({
    0: 0x0040, 1: cylinders, 3: heads, 6: perTrack, 47: 0x8000 | MOST_MULTIPLE, 49: 0x0f00, 50: 0x4000, 51: 0x0200, 53: 0x0007,
    54: cylinders, 55: heads, 56: perTrack, 57: low(chs), 58: high(chs, 16), 59: multiple > 0 ? 0x100 | multiple : 0,
    60: low(short), 61: high(short, 16), ...modes(transferMode), 64: 0x0003, 65: 120, 66: 120, 67: 120, 68: 120,
    75: QUEUE_DEPTH - 1, 76: 0x0106, 80: 0x01f0,
    // NOP, write cache; 48-bit addresses, flushes.
    82: 0x4020, 83: 0x7400, 84: 0x4040, 85: 0x4000 | (writeCache ? 0x20 : 0), 86: 0x3400, 87: 0x4040, 93: 0x6001,
    100: low(sectors), 101: high(sectors, 16), 102: high(sectors, 32), 105: trim ? 1 : 0, 169: trim ? 1 : 0, 217: 1,
  });
  return strings(words, facts).bytes;
}

/** What IDENTIFY PACKET DEVICE gives: a CD drive with 12-byte packets that raises no interrupt before them. */
export function identifyCd(facts: DriveFacts, transferMode: number): Uint8Array {
  const words = new Words().set({ 0: 0x85c0, 49: 0x0f00, 53: 0x0006, ...modes(transferMode), 64: 0x0003, 65: 180, 66: 180, 67: 180, 68: 180 });
  words.set({ 76: 0x0006, 80: 0x01f0, 82: 0x4210, 83: 0x4000, 84: 0x4000, 85: 0x4210, 87: 0x4000, 93: 0x6001, 125: CD_BLOCK_BYTES });
  return strings(words, facts).bytes;
}
