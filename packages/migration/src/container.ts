import type { SavedValue } from '@nestvm/state';
import { type ByteSink, type ByteSource, ExactReader } from './channel.js';
import { crc32 } from './checksum.js';
import { MigrationError } from './errors.js';
import { decodeValue, encodeValue } from './value-codec.js';

/**
 * The container: a header, then sections of `kind` (4 letters), length, CRC-32 of both and the payload, and (since format 2) CRC-32 of those twelve bytes, so that
 * nobody waits for as many bytes as a damaged length says; up to a section `END `. Format 3 may have sections `DISK`. The same bytes are a file and a migration stream.
 */
const MAGIC = 'NESTVMSN';
/** Version of the container; units have versions of their own. */
const FORMAT_VERSION = 3;
/** What can be read by those that know no disks is written as they know it. */
const VERSION_WITHOUT_DISKS = 2;

/** What a section holds. */
export type SectionKind =
  /** The configuration of the machine, a value. */
  | 'CONF'
  /** A value `{ path, version, state }`. */
  | 'UNIT'
  /** A value: the list of `{ name, bytes }` of the RAM blocks. */
  | 'RAMB'
  /** Blocks of a disk that is in memory only, a value: see `held-disks.ts`. */
  | 'DISK'
  /** Pages of RAM: see `ram-codec.ts`. */
  | 'PAGE'
  /** A value: what a live migration says between passes. */
  | 'CTRL'
  /** A value `{ sections, crc }`: how many sections came before, and the CRC-32 over their CRCs. */
  | 'END ';

const KINDS: readonly string[] = ['CONF', 'UNIT', 'DISK', 'RAMB', 'PAGE', 'CTRL', 'END '] satisfies SectionKind[];

/** No section is longer: what bounds the memory that a hostile snapshot can ask for. */
const MAX_SECTION_BYTES = 16 << 20;
const HEADER_BYTES = 16;
const SECTION_HEADER_BYTES = 16;
const SECTION_HEADER_BYTES_1 = 12;
const ascii = new TextEncoder();
/** A run of pages with all that goes before it fits. */
const SCRATCH_BYTES = (1 << 20) + 4096;
/** Sections are written together once they are this long: a line takes few long pieces faster than many short ones. */
const BATCH_BYTES = 1 << 20;
/** From so many bytes on a write of their own is less work than copying them. */
const STILL_BYTES = 64 << 10;
/** Whoever reads these is waited for. */
const PROMPT: readonly SectionKind[] = ['CTRL', 'END '];

function lengthOf(kind: SectionKind, parts: readonly Uint8Array[]): number {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length > MAX_SECTION_BYTES) throw new MigrationError('bad-unit', `a ${kind} section of ${length} bytes; at most ${MAX_SECTION_BYTES} fit`);
  return length;
}

/** A section as read. */
export interface Section {
  readonly kind: SectionKind;
  /** That of `PAGE` holds until the next section is read. */
  readonly payload: Uint8Array;
  /** Byte offset of the payload in the stream. */
  readonly offset: number;
  /** How many bytes of it are not in the payload, since they were read to where {@link PlaceOf} wants them. */
  readonly placedBytes?: number;
}

/** Where the data of a section with pages goes before its checksum is looked at, by the first bytes of its payload; undefined: it stays in the payload. */
export interface PlaceOf {
  readonly headerBytes: number;
  readonly find: (header: Uint8Array, dataBytes: number) => Uint8Array | undefined;
}

/** Writes the container. */
export class ContainerWriter {
  /** Bytes so far, with those that wait to be written together. */
  bytes = 0;
  private sections = 0;
  private crc = 0;
  private batch = new Uint8Array(0);
  private filled = 0;
  /** What is being written, and where it lies: the next sections are made meanwhile. */
  private underway = Promise.resolve();
  private spare = new Uint8Array(0);

  constructor(private readonly sink: ByteSink) {}

  /** `withDisks`: sections `DISK` may follow. */
  async begin(withDisks = false): Promise<void> {
    const header = this.room(HEADER_BYTES);
    header.fill(0);
    header.set(ascii.encode(MAGIC));
    new DataView(header.buffer, header.byteOffset).setUint32(8, withDisks ? FORMAT_VERSION : VERSION_WITHOUT_DISKS, true);
    await this.flush();
    await this.underway;
  }

  /**
   * Writes a section of some parts, which are copied before anything is awaited: guest memory may change while the line takes it. A failure of the sink may be
   * told by the next section only; what is prompt is written when this resolves, with all before it.
   */
  async section(kind: SectionKind, ...parts: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(kind, parts);
    const all = this.room(SECTION_HEADER_BYTES + length);
    let at = SECTION_HEADER_BYTES;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    this.seal(all, kind, length, all.subarray(SECTION_HEADER_BYTES));
    const prompt = PROMPT.includes(kind);
    if (prompt || this.filled >= BATCH_BYTES) await this.flush();
    if (prompt) await this.underway;
  }

  /** The same, of data that does not change until this resolves: much of it goes to the sink as it is. */
  async still(kind: SectionKind, first: Uint8Array, data: Uint8Array): Promise<void> {
    if (data.length < STILL_BYTES) return this.section(kind, first, data);
    const length = lengthOf(kind, [first, data]);
    const all = this.room(SECTION_HEADER_BYTES + first.length);
    all.set(first, SECTION_HEADER_BYTES);
    this.seal(all, kind, length, first, data);
    this.bytes += data.length;
    await this.flush();
    await this.underway;
    await this.sink.write(data);
  }

  /** Writes the header of a section to the beginning of `all`. */
  private seal(all: Uint8Array, kind: SectionKind, length: number, ...payload: readonly Uint8Array[]): void {
    const view = new DataView(all.buffer, all.byteOffset);
    for (let i = 0; i < 4; i++) all[i] = kind.charCodeAt(i);
    view.setUint32(4, length, true);
    let crc = crc32(all.subarray(0, 8));
    for (const part of payload) crc = crc32(part, crc);
    view.setUint32(8, crc, true);
    view.setUint32(12, crc32(all.subarray(0, 12)), true);
    this.sections++;
    this.crc = crc32(all.subarray(8, 12), this.crc);
  }

  /** Room behind what waits, in a buffer that is used again and again, since a sink keeps nothing. */
  private room(length: number): Uint8Array {
    const { filled } = this;
    const end = filled + length;
    if (this.batch.length < end) {
      const larger = new Uint8Array(Math.max(end, Math.min(2 * end, BATCH_BYTES + SCRATCH_BYTES)));
      larger.set(this.batch.subarray(0, filled));
      this.batch = larger;
    }
    this.filled = end;
    this.bytes += length;
    return this.batch.subarray(filled, end);
  }

  private async flush(): Promise<void> {
    await this.underway;
    const { batch, spare, filled } = this;
    this.filled = 0;
    this.batch = spare;
    this.spare = batch;
    this.underway = this.sink.write(batch.subarray(0, filled));
    // Who waits for it next hears of a failure; until then it is no unhandled one.
    this.underway.catch(() => {});
  }

  value(kind: SectionKind, value: SavedValue): Promise<void> {
    return this.section(kind, encodeValue(value));
  }

  end(): Promise<void> {
    return this.value('END ', { sections: this.sections, crc: this.crc });
  }
}

/** Reads the container, section by section, checking each. */
export class ContainerReader {
  private readonly input: ExactReader;
  private sections = 0;
  private crc = 0;
  private version = FORMAT_VERSION;
  private scratch = new Uint8Array(0);
  /** Who reads may want pages where they belong at once. */
  place: PlaceOf | undefined;

  constructor(private readonly source: ByteSource) {
    this.input = new ExactReader(this.source);
  }

  /** Byte offset of what is read next. */
  get offset(): number {
    return this.input.offset;
  }

  async begin(): Promise<void> {
    const header = await this.input.exactly(HEADER_BYTES, 'the header');
    const magic = String.fromCharCode(...header.subarray(0, 8));
    if (magic !== MAGIC) throw new MigrationError('bad-magic', 'this is no Nestvm snapshot: its first bytes are others', { offset: 0 });
    const version = new DataView(header.buffer, header.byteOffset).getUint32(8, true);
    if (version > FORMAT_VERSION)
      throw new MigrationError('newer-version', `the snapshot has format ${version}, this Nestvm knows up to ${FORMAT_VERSION}; use a newer Nestvm`, {
        offset: 8,
      });
    if (version === 0 || header.subarray(12).some((byte) => byte !== 0)) throw new MigrationError('corrupt', 'the header is damaged', { offset: 8 });
    this.version = version;
  }

  /** The next section; `END ` has been checked and is the last. */
  async next(): Promise<Section> {
    const at = this.input.offset;
    const header = await this.input.exactly(this.version === 1 ? SECTION_HEADER_BYTES_1 : SECTION_HEADER_BYTES, 'a section header');
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    const whole = this.version === 1 || crc32(header.subarray(0, 12)) === view.getUint32(12, true);
    const kind = String.fromCharCode(...header.subarray(0, 4));
    const length = view.getUint32(4, true);
    if (!whole || !KINDS.includes(kind) || length > MAX_SECTION_BYTES)
      throw new MigrationError('corrupt', `the section at byte ${at} has a damaged header; the snapshot can't be used`, { offset: at });
    const stored = view.getUint32(8, true);
    const head = crc32(header.subarray(0, 8));
    const offset = this.input.offset;
    const what = `the section ${kind.trim()} at byte ${at}`;
    const { payload, data } = kind === 'PAGE' ? await this.pages(length, what) : { payload: await this.input.exactly(length, what) };
    const crc = crc32(payload, head);
    if ((data === undefined ? crc : crc32(data, crc)) !== stored)
      throw new MigrationError('corrupt', `the section ${kind.trim()} at byte ${at} has a wrong checksum; the snapshot is damaged`, { offset: at });
    if (kind === 'END ') await this.checkEnd(payload, offset);
    this.sections++;
    this.crc = crc32(header.subarray(8, 12), this.crc);
    return { kind: kind as SectionKind, payload, offset, ...(data === undefined ? {} : { placedBytes: data.length }) };
  }

  /** Pages come again and again, and are put where they belong at once. */
  private async pages(length: number, what: string): Promise<{ readonly payload: Uint8Array; readonly data?: Uint8Array }> {
    if (length > SCRATCH_BYTES) return { payload: await this.input.exactly(length, what) };
    if (this.scratch.length < length) this.scratch = new Uint8Array(length);
    const payload = this.scratch.subarray(0, length);
    const headerBytes = Math.min(length, this.place?.headerBytes ?? 0);
    const header = payload.subarray(0, headerBytes);
    await this.input.into(header, what);
    const data = this.place?.find(header, length - headerBytes);
    if (data !== undefined) return { payload: header, data: await this.input.into(data, what) };
    await this.input.into(payload.subarray(headerBytes), what);
    return { payload };
  }

  private checkEnd(payload: Uint8Array, offset: number): Promise<void> {
    const end = decodeValue(payload, 'the end of the snapshot', offset) as { sections?: SavedValue; crc?: SavedValue } | null;
    if (end?.sections !== this.sections || end.crc !== this.crc)
      throw new MigrationError('corrupt', `the snapshot ends after ${this.sections} sections that are not those that were written`, { offset });
    return Promise.resolve();
  }
}
