import { type BlockBackend, inTurn, type Pending } from '../virtio/block/backend.js';
import { Opcode, SENSE, type Sense } from './codes.js';
import { failed, good, readBlockNumber, type ScsiAnswer, type ScsiCommand } from './command.js';

/** What transfers need of a unit. */
export interface Medium {
  readonly disk: BlockBackend | undefined;
  readonly blockBytes: number;
  readonly blocks: number;
  readonly readOnly: boolean;
  readonly writeCache: boolean;
  readonly identity: { readonly thin: boolean; readonly mostBlocks: number; readonly mostUnmapped: number };
}

type Answer = ScsiAnswer | Promise<ScsiAnswer>;

/** Where in a command descriptor block the number of the first block and of the blocks is, by its length ("SCSI Primary Commands", Typical CDB formats). */
export function extent(cdb: DataView): { readonly first: number; readonly count: number } {
  switch (cdb.getUint8(0) >> 5) {
    case 0:
      return { first: ((cdb.getUint8(1) & 0x1f) << 16) | cdb.getUint16(2), count: cdb.getUint8(4) || 256 };
    case 1:
    case 2:
      return { first: cdb.getUint32(2), count: cdb.getUint16(7) };
    case 5:
      return { first: cdb.getUint32(2), count: cdb.getUint32(6) };
    default:
      return { first: readBlockNumber(cdb, 2), count: cdb.getUint32(10) };
  }
}

/** Runs a step on the disk; what it throws or rejects with is a failure of the medium. */
function attempt(step: () => Pending, failure: Sense, answer: ScsiAnswer): Answer {
  try {
    const pending = step();
    if (!pending) return answer;
    return pending.then(
      () => answer,
      () => failed(failure),
    );
  } catch {
    return failed(failure);
  }
}

/** What is wrong with a range of blocks. */
function complaint({ blocks }: Medium, first: number, count: number): Sense | undefined {
  return first + count > blocks ? SENSE.ADDRESS_OUT_OF_RANGE : undefined;
}

/** READ and WRITE of 6, 10, 12 and 16 bytes. */
export function transfer(medium: Medium, command: ScsiCommand, writing: boolean): Answer {
  const { disk, blockBytes, identity } = medium;
  const { cdb } = command;
  const { first, count } = extent(cdb);
  if (writing && medium.readOnly) return failed(SENSE.WRITE_PROTECTED);
  const wrong = complaint(medium, first, count) ?? (count > identity.mostBlocks ? SENSE.INVALID_FIELD_IN_CDB : undefined);
  if (wrong) return failed(wrong);
  const length = count * blockBytes;
  const offset = first * blockBytes;
  if (!writing) return readBytes(disk!, command, offset, length);
  if (length > command.outBytes) return { kind: 'overrun' };
  const forced = cdb.getUint8(0) >= 0x20 && (cdb.getUint8(1) & 8) !== 0;
  return attempt(() => write(disk!, command, offset, length, forced || !medium.writeCache), SENSE.WRITE_ERROR, good(length));
}

/** Answers with bytes of a disk. */
export const readBytes = (disk: BlockBackend, command: ScsiCommand, offset: number, length: number): Answer =>
  length > command.inBytes ? { kind: 'overrun' } : attempt(() => read(disk, command, offset, length), SENSE.UNRECOVERED_READ_ERROR, good(length));

/** The pieces that a command shows, for a disk that takes several at once; undefined where there is but one, or some of it is no memory (any more). */
function partsOf(command: ScsiCommand, length: number, writing: boolean): Uint8Array[] | undefined {
  if (command.viewable !== true) return undefined;
  const parts: Uint8Array[] = [];
  const note = (bytes: Uint8Array): void => void parts.push(bytes);
  const shown = writing ? command.visitOut(0, length, note) : command.visitIn(0, length, note);
  const whole = shown === length && parts.reduce((sum, { length: bytes }) => sum + bytes, 0) === length;
  return whole && parts.length > 1 ? parts : undefined;
}

function write(disk: BlockBackend, command: ScsiCommand, offset: number, length: number, through: boolean): Pending {
  const pending: Promise<void>[] = [];
  const take = (step: Pending): void => {
    if (step) pending.push(step);
  };
  const parts = disk.writeParts && partsOf(command, length, true);
  if (parts) take(disk.writeParts!(offset, parts));
  else command.visitOut(0, length, (bytes, at) => take(disk.write(offset + at, bytes)));
  if (pending.length === 0) return through ? disk.flush() : undefined;
  return Promise.all(pending).then(() => (through ? disk.flush() : undefined));
}

/** Reads into guest memory. Bytes that come later are put there then, so that whoever watches memory hears of them. */
function read(disk: BlockBackend, command: ScsiCommand, offset: number, length: number): Pending {
  const put = (bytes: Uint8Array, at: number): void =>
    void command.visitIn(at, bytes.length, (view, done) => view !== bytes && view.set(bytes.subarray(done, done + view.length)));
  const parts = disk.readParts && partsOf(command, length, false);
  if (parts) {
    return disk.readParts!(offset, parts)?.then(() => {
      let at = 0;
      for (const part of parts) {
        put(part, at);
        at += part.length;
      }
    });
  }
  const pending: Promise<void>[] = [];
  command.visitIn(0, length, (bytes, at) => {
    const step = disk.read(offset + at, bytes);
    if (step) pending.push(step.then(() => put(bytes, at)));
  });
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => {});
}

/** VERIFY without comparison: the blocks can be read, as far as they are there. */
export function verify(medium: Medium, { cdb }: ScsiCommand): ScsiAnswer {
  const { first, count } = extent(cdb);
  if ((cdb.getUint8(1) & 6) !== 0) return failed(SENSE.INVALID_FIELD_IN_CDB);
  const wrong = complaint(medium, first, count);
  return wrong ? failed(wrong) : good();
}

/** SYNCHRONIZE CACHE: always the whole disk. */
export const synchronize = ({ disk, readOnly }: Medium): Answer =>
  disk && !readOnly ? attempt(() => disk.flush(), SENSE.WRITE_ERROR, good()) : good();

const PIECE_BYTES = 0x1_0000;

/** WRITE SAME of 10 and 16 bytes: zeroes, a pattern, or, with UNMAP, freed blocks. */
export function writeSame(medium: Medium, command: ScsiCommand): Answer {
  const { disk, blockBytes, blocks, identity } = medium;
  const { cdb } = command;
  const flags = cdb.getUint8(1);
  const { first, count: given } = extent(cdb);
  const count = given === 0 ? blocks - first : given;
  if (medium.readOnly) return failed(SENSE.WRITE_PROTECTED);
  const unmapping = (flags & 8) !== 0;
  const noData = (flags & 1) !== 0 && cdb.getUint8(0) === Opcode.WRITE_SAME_16;
  if ((flags & 0xe6) !== 0 || (unmapping && !identity.thin)) return failed(SENSE.INVALID_FIELD_IN_CDB);
  const wrong = complaint(medium, first, count) ?? (count < 0 || count > identity.mostUnmapped ? SENSE.INVALID_FIELD_IN_CDB : undefined);
  if (wrong) return failed(wrong);
  const block = new Uint8Array(blockBytes);
  if (!noData && command.read(0, block) < blockBytes) return { kind: 'overrun' };
  const answer = good(noData ? 0 : blockBytes);
  const step = (): Pending => {
    const offset = first * blockBytes;
    const length = count * blockBytes;
    if (block.every((byte) => byte === 0) && disk!.writeZeroes) return disk!.writeZeroes(offset, length, unmapping);
    return repeat(disk!, block, offset, length);
  };
  return attempt(() => inTurn([step, () => (medium.writeCache ? undefined : disk!.flush())], (each) => each()), SENSE.WRITE_ERROR, answer);
}

/** Writes one block again and again. */
function repeat(disk: BlockBackend, block: Uint8Array, offset: number, length: number): Pending {
  const piece = new Uint8Array(Math.min(length, PIECE_BYTES));
  for (let at = 0; at < piece.length; at += block.length) piece.set(block, at);
  const starts = Array.from({ length: Math.ceil(length / PIECE_BYTES) }, (_, i) => i * PIECE_BYTES);
  return inTurn(starts, (start) => disk.write(offset + start, piece.subarray(0, Math.min(piece.length, length - start))));
}

const HEADER_BYTES = 8;
const DESCRIPTOR_BYTES = 16;
const MOST_DESCRIPTORS = 255;

/** UNMAP: the blocks of each descriptor do not matter any more. */
export function unmap(medium: Medium, command: ScsiCommand): Answer {
  const { disk, blockBytes, identity } = medium;
  const length = command.cdb.getUint16(7);
  if (medium.readOnly) return failed(SENSE.WRITE_PROTECTED);
  if (!identity.thin || (command.cdb.getUint8(1) & 1) !== 0) return failed(SENSE.INVALID_FIELD_IN_CDB);
  if (length === 0) return good();
  if (length < HEADER_BYTES) return failed(SENSE.PARAMETER_LIST_LENGTH_ERROR);
  const bytes = new Uint8Array(length);
  if (command.read(0, bytes) < length) return { kind: 'overrun' };
  const view = new DataView(bytes.buffer);
  const count = Math.floor(Math.min(view.getUint16(2), length - HEADER_BYTES) / DESCRIPTOR_BYTES);
  if (count > MOST_DESCRIPTORS) return failed(SENSE.INVALID_FIELD_IN_PARAMETER_LIST);
  const ranges: { readonly first: number; readonly blocks: number }[] = [];
  for (let i = 0; i < count; i++) {
    const at = HEADER_BYTES + i * DESCRIPTOR_BYTES;
    const range = { first: readBlockNumber(view, at), blocks: view.getUint32(at + 8) };
    const wrong = complaint(medium, range.first, range.blocks);
    if (wrong) return failed(wrong);
    if (range.blocks > identity.mostUnmapped) return failed(SENSE.INVALID_FIELD_IN_PARAMETER_LIST);
    ranges.push(range);
  }
  const step = (range: { readonly first: number; readonly blocks: number }): Pending =>
    disk!.discard?.(range.first * blockBytes, range.blocks * blockBytes);
  return attempt(() => inTurn(ranges, step), SENSE.WRITE_ERROR, good(length));
}
