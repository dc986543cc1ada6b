import { ClearPages, nextPage, PAGE_BYTES } from './clear-pages.js';
import { MigrationError } from './errors.js';
import type { RamBlock } from './machine-port.js';

/** RAM goes in runs of pages: block number, first page, page count, encoding, then the data. Pages in one run at most: 1 MiB. */
const RUN_PAGES = 256;

/** How the data of a run is encoded. */
export type RunEncoding = 'zero' | 'raw' | 'deflate';
const ENCODINGS: readonly RunEncoding[] = ['zero', 'raw', 'deflate'];
const HEADER_BYTES = 12;

/** A run of pages as it is found in a section. */
export interface PageRun {
  readonly block: number;
  readonly firstPage: number;
  readonly pages: number;
  readonly encoding: RunEncoding;
  readonly data: Uint8Array;
  /** Byte offset of the section's payload. */
  readonly offset: number;
}

/** A run as the parts of a section's payload. */
export function encodeRun({ block, firstPage, pages, encoding, data }: Omit<PageRun, 'offset'>): [header: Uint8Array, data: Uint8Array] {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint16(0, block, true);
  view.setUint8(2, ENCODINGS.indexOf(encoding));
  view.setUint32(4, firstPage, true);
  view.setUint32(8, pages, true);
  return [header, data];
}

/** Bytes of a section with pages that come before their data. */
export const RUN_HEADER_BYTES = HEADER_BYTES;

/** Reads and checks a run: it lies in its block, and its data has a possible length. `dataBytes`: how many there are when they are not in the payload. */
export function decodeRun(payload: Uint8Array, blocks: readonly RamBlock[], offset: number, dataBytes = payload.length - HEADER_BYTES): PageRun {
  const bad = (what: string): MigrationError =>
    new MigrationError('corrupt', `the pages at byte ${offset} ${what}; the snapshot is damaged`, { offset });
  if (payload.length < HEADER_BYTES) throw bad('are cut short');
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const block = view.getUint16(0, true);
  const encoding = ENCODINGS[view.getUint8(2)];
  const firstPage = view.getUint32(4, true);
  const pages = view.getUint32(8, true);
  const ram = blocks[block];
  if (ram === undefined) throw bad(`belong to RAM block ${block}, which this machine lacks`);
  if (encoding === undefined || view.getUint8(3) !== 0) throw bad('have an unknown encoding');
  const limit = encoding === 'zero' ? ram.bytes.length / PAGE_BYTES : RUN_PAGES;
  if (pages === 0 || pages > limit || (firstPage + pages) * PAGE_BYTES > ram.bytes.length) throw bad(`lie outside of ${ram.name}`);
  const fits = encoding === 'zero' ? dataBytes === 0 : encoding === 'raw' ? dataBytes === pages * PAGE_BYTES : dataBytes > 0;
  if (!fits) throw bad('have data of a wrong length');
  return { block, firstPage, pages, encoding, data: payload.subarray(HEADER_BYTES), offset };
}

async function collect(stream: ReadableStream<Uint8Array>, limit: number): Promise<Uint8Array | null> {
  const reader = stream.getReader();
  const all = new Uint8Array(limit);
  let length = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return all.subarray(0, length);
    if (length + value.length > limit) {
      await reader.cancel();
      return null;
    }
    all.set(value, length);
    length += value.length;
  }
}

const through = (bytes: Uint8Array, transform: CompressionStream | DecompressionStream): ReadableStream<Uint8Array> =>
  new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(transform) as ReadableStream<Uint8Array>;

/** Compressed data, or null when it would not be smaller. */
export const deflate = (bytes: Uint8Array): Promise<Uint8Array | null> =>
  collect(through(bytes, new CompressionStream('deflate-raw')), bytes.length - 1);

/** The pages of a run, never more than it announces; throws `corrupt`. */
export async function expandRun(run: PageRun): Promise<Uint8Array> {
  const length = run.pages * PAGE_BYTES;
  if (run.encoding === 'zero') return new Uint8Array(length);
  if (run.encoding === 'raw') return run.data;
  const bad = (): MigrationError =>
    new MigrationError('corrupt', `the pages at byte ${run.offset} do not unpack to ${length} bytes; the snapshot is damaged`, {
      offset: run.offset,
    });
  let expanded: Uint8Array | null;
  try {
    expanded = await collect(through(run.data, new DecompressionStream('deflate-raw')), length);
  } catch {
    throw bad();
  }
  if (expanded?.length !== length) throw bad();
  return expanded;
}

/** Neighbouring pages that go together: all zero, or none of them. */
export interface PageSpan {
  readonly firstPage: number;
  readonly pages: number;
  readonly zero: boolean;
}

/** Which pages go together, and how far apart those may be that do. */
interface SpanOptions {
  /** The wanted pages: bit `page & 31` of word `page >>> 5`; default: all. */
  readonly wanted?: Uint32Array | undefined;
  /** So many pages between two that hold something go with them, wanted or not: that is less work than another span. */
  readonly bridge?: number;
}

/**
 * The wanted pages of a block as spans of at most {@link RUN_PAGES}. Memory is looked at when a span is asked for, since a guest may be writing to it.
 */
export function* pageSpans(bytes: Uint8Array, { wanted, bridge = 0 }: SpanOptions = {}): Generator<PageSpan> {
  const clear = new ClearPages(bytes);
  const pages = bytes.length / PAGE_BYTES;
  const next = (from: number): number => (wanted === undefined ? from : nextPage(wanted, true, from, pages));
  /** The end of the wanted pages from `from` on that are all clear, or all not. */
  const stretch = (from: number, most: number, zero: boolean): number => {
    const limit = wanted === undefined ? most : nextPage(wanted, false, from, most);
    let end = from;
    while (end < limit && clear.has(end) === zero) end++;
    return end;
  };
  for (let page = next(0); page < pages; ) {
    const most = Math.min(pages, page + RUN_PAGES);
    clear.forget();
    const zero = clear.has(page);
    let end = stretch(page, most, zero);
    for (let from = end + 1; !zero && from <= end + bridge && from < most; from++) {
      const farther = stretch(from, most, false);
      if (farther > from) from = end = farther;
    }
    yield { firstPage: page, pages: end - page, zero };
    page = next(end);
  }
}
