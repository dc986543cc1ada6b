import { describe, expect, it } from 'vitest';
import { crc32 } from '../src/checksum.js';
import { createMemorySink, createMemorySource, loadSnapshot, MigrationError, saveSnapshot } from '../src/index.js';
import { encodeValue } from '../src/value-codec.js';
import { join, type Piece, split } from './reseal.js';
import { DiskToy, usedMachine } from './toy-machine.js';

const HEADER = 16;
const utf8 = new TextEncoder();

async function whole(): Promise<Uint8Array> {
  const sink = createMemorySink();
  await saveSnapshot(usedMachine(new DiskToy()).hold({ 1: 1 }), sink, { compression: 'none' });
  return sink.bytes();
}

const kindOf = ({ kind }: Piece): string => String.fromCharCode(...kind);
const value = (kind: string, saved: Parameters<typeof encodeValue>[0]): Piece => ({ kind: utf8.encode(kind), payload: encodeValue(saved) });

/** The snapshot with other sections, whose checksums are right. */
function withSections(bytes: Uint8Array, change: (pieces: Piece[]) => void): Uint8Array {
  const pieces = split(bytes);
  const end = pieces.pop()!;
  change(pieces);
  return join(bytes, pieces, end);
}

/** The snapshot with other words of its first section's header, whose own checksum is right. */
function withHeader(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const changed = bytes.slice();
  const view = new DataView(changed.buffer, HEADER, 16);
  change(view);
  view.setUint32(12, crc32(changed.subarray(HEADER, HEADER + 12)), true);
  return changed;
}

const first = (pieces: Piece[], kind: string): number => pieces.findIndex((piece) => kindOf(piece) === kind);

/** A run of pages with other words in its header: first page and how many. */
const run = (page: number, pages: number) => (pieces: Piece[]) => {
  const { payload } = pieces[first(pieces, 'PAGE')]!;
  const view = new DataView(payload.buffer, payload.byteOffset);
  view.setUint32(4, page, true);
  view.setUint32(8, pages, true);
};

interface Case {
  readonly what: string;
  readonly make: (bytes: Uint8Array) => Uint8Array;
  readonly code: MigrationError['code'];
  readonly says: RegExp;
  readonly offset?: number;
  readonly unit?: string;
}

const cases: readonly Case[] = [
  { what: 'nothing at all', make: () => new Uint8Array(0), code: 'truncated', says: /the header ends at byte 0/, offset: 0 },
  { what: 'another magic', make: (bytes) => bytes.with(0, 0x51), code: 'bad-magic', says: /no Nestvm snapshot/, offset: 0 },
  {
    what: 'a format of the future',
    make: (bytes) => bytes.with(8, 99),
    code: 'newer-version',
    says: /format 99, this Nestvm knows up to/,
    offset: 8,
  },
  { what: 'a format before the first', make: (bytes) => bytes.with(8, 0), code: 'corrupt', says: /header is damaged/, offset: 8 },
  {
    what: 'a section of 4 GiB',
    make: (bytes) => withHeader(bytes, (view) => view.setUint32(4, 0xffff_ffff, true)),
    code: 'corrupt',
    says: /at byte 16 has a damaged header/,
    offset: 16,
  },
  {
    what: 'a section that is longer than the rest of the file',
    make: (bytes) => withHeader(bytes, (view) => view.setUint32(4, 16 << 20, true)),
    code: 'truncated',
    says: /16777216 bytes were announced/,
  },
  {
    what: 'a section of no known kind',
    make: (bytes) => withHeader(bytes, (view) => view.setUint32(0, 0x41414141, true)),
    code: 'corrupt',
    says: /damaged header/,
    offset: 16,
  },
  {
    what: 'a list of more elements than there are bytes',
    make: (bytes) =>
      withSections(bytes, (pieces) => void (pieces[first(pieces, 'RAMB')]!.payload = Uint8Array.of(8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x07))),
    code: 'corrupt',
    says: /announces \d+ elements where 0 bytes are left/,
  },
  {
    what: 'a unit twice',
    make: (bytes) => withSections(bytes, (pieces) => pieces.splice(first(pieces, 'UNIT'), 0, pieces[first(pieces, 'UNIT')]!)),
    code: 'corrupt',
    says: /unit clock twice/,
    unit: 'clock',
  },
  {
    what: 'a unit that nobody knows',
    make: (bytes) =>
      withSections(bytes, (pieces) => pieces.splice(first(pieces, 'UNIT'), 0, value('UNIT', { path: 'floppy', version: 1, state: null }))),
    code: 'other-units',
    says: /unit floppy, which this machine lacks/,
    unit: 'floppy',
  },
  {
    what: 'a unit of the future',
    make: (bytes) =>
      withSections(bytes, (pieces) => void (pieces[first(pieces, 'UNIT')] = value('UNIT', { path: 'clock', version: 9, state: { counter: 1 } }))),
    code: 'newer-version',
    says: /clock/,
    unit: 'clock',
  },
  {
    what: 'a unit less',
    make: (bytes) => withSections(bytes, (pieces) => pieces.splice(first(pieces, 'UNIT'), 1)),
    code: 'other-units',
    says: /lacks unit clock/,
    unit: 'clock',
  },
  {
    what: 'a unit without a state',
    make: (bytes) => withSections(bytes, (pieces) => void (pieces[first(pieces, 'UNIT')] = value('UNIT', { path: 'clock', version: 1 }))),
    code: 'corrupt',
    says: /lacks its name, version or state/,
  },
  {
    what: 'memory of another size',
    make: (bytes) => withSections(bytes, (pieces) => void (pieces[first(pieces, 'RAMB')] = value('RAMB', [{ name: 'ram', bytes: 2 ** 50 }]))),
    code: 'other-machine',
    says: /other memory than this machine/,
  },
  { what: 'pages behind the end', make: (bytes) => withSections(bytes, run(0xffff_ffff, 2)), code: 'corrupt', says: /outside of ram/ },
  { what: 'more pages than fit a run', make: (bytes) => withSections(bytes, run(0, 0xffff_ffff)), code: 'corrupt', says: /outside of ram/ },
  {
    what: 'sections in another order',
    make: (bytes) => withSections(bytes, (pieces) => pieces.reverse()),
    code: 'corrupt',
    says: /out of place/,
  },
];

describe('bad input', () => {
  it.each(cases)('$what: refused by name, and nothing changes', async ({ make, code, says, offset, unit }) => {
    const bytes = make(await whole());
    const target = new DiskToy().hold({ 3: 3 });
    const before = target.fingerprint();
    const error = await loadSnapshot(target, () => createMemorySource(bytes)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MigrationError);
    expect(error).toMatchObject({ code, message: expect.stringMatching(says) });
    if (offset !== undefined) expect(error).toMatchObject({ offset });
    if (unit !== undefined) expect(error).toMatchObject({ unit });
    expect(target.fingerprint()).toBe(before);
  });
});
