import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';

// The format is that of QEMU's "QCOW2 image format" (docs/interop/qcow2.txt).

/** `QFI\xfb`. */
export const QCOW_MAGIC = 0x514649fb;

/** Features without which an image cannot be read. */
const Incompatible = { DIRTY: 1, CORRUPT: 2, EXTERNAL_DATA: 4, COMPRESSION: 8, EXTENDED_L2: 16 } as const;

const Extension = { END: 0, BACKING_FORMAT: 0xe2792aca, BITMAPS: 0x23852875 } as const;

/** Where header fields are. */
export const HeaderOffset = { L1_OFFSET: 40, REFCOUNT_TABLE: 48, REFCOUNT_CLUSTERS: 56, INCOMPATIBLE: 72, AUTOCLEAR: 88 } as const;

/** What the header of a qcow2 image says; sizes and offsets in bytes. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly sizeBytes: number;
  readonly backingName?: string;
  /** Format of the backing file, when the image says. */
  readonly backingFormat?: string;
  readonly l1Entries: number;
  readonly l1Offset: number;
  readonly refcountTableOffset: number;
  readonly refcountTableClusters: number;
  readonly snapshots: number;
  readonly snapshotsOffset: number;
  /** log2 of the width of a reference count in bits. */
  readonly refcountOrder: number;
  readonly compression: 'deflate' | 'zstd';
  /** Reference counts may be wrong: it was not closed. */
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly autoclear: boolean;
  readonly hasBitmaps: boolean;
}

const LIMITS = { l1Bytes: 32 * 2 ** 20, refcountTableBytes: 8 * 2 ** 20, snapshots: 65536, headerBytes: 4096, backingName: 1023 } as const;

const bad = (what: string): DiskError => new DiskError('bad-image', `qcow2: ${what}; the image is damaged: try 'qemu-img check -r all' on a copy`);

/** Reads and checks the header. Throws `DiskError`: `truncated`, `bad-image`, `unsupported`. */
export function readHeader(file: DiskFile): Qcow2Header {
  if (file.sizeBytes < 72) throw new DiskError('truncated', `qcow2: ${file.sizeBytes} bytes are too few for a header; copy the image again`);
  const bytes = new Uint8Array(Math.min(file.sizeBytes, LIMITS.headerBytes));
  file.read(0, bytes);
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0) !== QCOW_MAGIC) throw new DiskError('bad-image', 'qcow2: this is no qcow2 image; for plain sectors write format=raw');
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) throw new DiskError('unsupported', `qcow2: version ${version}; there are 2 and 3: convert it with qemu-img`);
  const clusterBits = view.getUint32(20);
  if (clusterBits < 9 || clusterBits > 21) throw bad(`clusters of 2^${clusterBits} bytes (2^9 to 2^21 exist)`);
  if (view.getUint32(32) !== 0) throw new DiskError('unsupported', 'qcow2: the image is encrypted; convert it with qemu-img');
  const features = version === 3 ? readFeatures(view, bytes.length) : undefined;
  const extensions = readExtensions(bytes, version === 3 ? features!.headerLength : 72);
  const header = {
    version,
    clusterBits,
    sizeBytes: wide(view, 24, 'the size'),
    ...readBacking(file, view),
    ...(extensions.backingFormat === undefined ? {} : { backingFormat: extensions.backingFormat }),
    l1Entries: view.getUint32(36),
    l1Offset: wide(view, 40, 'the L1 table'),
    refcountTableOffset: wide(view, 48, 'the refcount table'),
    refcountTableClusters: view.getUint32(56),
    snapshots: view.getUint32(60),
    snapshotsOffset: wide(view, 64, 'the snapshot table'),
    refcountOrder: features?.refcountOrder ?? 4,
    compression: features?.compression ?? 'deflate',
    dirty: features?.dirty ?? false,
    corrupt: features?.corrupt ?? false,
    autoclear: features?.autoclear ?? false,
    hasBitmaps: extensions.hasBitmaps,
  } satisfies Qcow2Header;
  checkTables(header, file.sizeBytes);
  return header;
}

/** A 64-bit field that counts bytes. */
function wide(view: DataView, offset: number, what: string): number {
  const value = view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);
  if (value <= Number.MAX_SAFE_INTEGER) return value;
  throw bad(`${what} at ${value.toExponential(2)} bytes`);
}

function readFeatures(view: DataView, available: number) {
  if (available < 104) throw new DiskError('truncated', 'qcow2: the file ends inside of the header; copy the image again');
  const incompatible = view.getUint32(76);
  if (view.getUint32(72) !== 0 || incompatible & ~31)
    throw new DiskError('unsupported', 'qcow2: features that are unknown here; convert it with qemu-img');
  if (incompatible & Incompatible.EXTERNAL_DATA) throw new DiskError('unsupported', 'qcow2: data in an external file; convert it with qemu-img');
  if (incompatible & Incompatible.EXTENDED_L2) throw new DiskError('unsupported', 'qcow2: extended L2 entries; convert it with qemu-img');
  const refcountOrder = view.getUint32(96);
  if (refcountOrder > 6) throw bad(`reference counts of 2^${refcountOrder} bits`);
  const headerLength = view.getUint32(100);
  if (headerLength < 104 || headerLength % 8 || headerLength > available) throw bad(`a header of ${headerLength} bytes`);
  const type = headerLength > 104 ? view.getUint8(104) : 0;
  if (type > 1) throw new DiskError('unsupported', `qcow2: compression ${type}; there are deflate and zstd`);
  if ((type !== 0) !== ((incompatible & Incompatible.COMPRESSION) !== 0)) throw bad('the compression type and its feature bit differ');
  return {
    refcountOrder,
    headerLength,
    compression: type === 1 ? ('zstd' as const) : ('deflate' as const),
    dirty: (incompatible & Incompatible.DIRTY) !== 0,
    corrupt: (incompatible & Incompatible.CORRUPT) !== 0,
    autoclear: (view.getUint32(88) | view.getUint32(92)) !== 0,
  };
}

function readExtensions(bytes: Uint8Array, start: number): { backingFormat?: string; hasBitmaps: boolean } {
  const view = new DataView(bytes.buffer);
  const found: { backingFormat?: string; hasBitmaps: boolean } = { hasBitmaps: false };
  // The name of the backing file follows the extensions, in the same first cluster.
  const nameAt = view.getUint32(8) === 0 ? view.getUint32(12) : 0;
  const end = nameAt > start ? Math.min(nameAt, bytes.length) : bytes.length;
  for (let at = start; at + 8 <= end; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === Extension.END) break;
    if (length > end - at - 8) throw bad(`header extension 0x${type.toString(16)} is ${length} bytes long`);
    if (type === Extension.BACKING_FORMAT) found.backingFormat = new TextDecoder().decode(bytes.subarray(at + 8, at + 8 + length));
    if (type === Extension.BITMAPS) found.hasBitmaps = true;
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

function readBacking(file: DiskFile, view: DataView): { backingName?: string } {
  const offset = wide(view, 8, 'the name of the backing file');
  const length = view.getUint32(16);
  if (offset === 0 || length === 0) return {};
  if (length > LIMITS.backingName) throw bad(`a backing file name of ${length} bytes`);
  if (offset + length > file.sizeBytes)
    throw new DiskError('truncated', 'qcow2: the file ends inside of the backing file name; copy the image again');
  const name = new Uint8Array(length);
  file.read(offset, name);
  return { backingName: new TextDecoder().decode(name) };
}

function checkTables(header: Qcow2Header, fileBytes: number): void {
  const clusterBytes = 2 ** header.clusterBits;
  const perL2 = clusterBytes / 8;
  const wanted = Math.ceil(header.sizeBytes / (clusterBytes * perL2));
  if (header.l1Entries * 8 > LIMITS.l1Bytes || header.l1Entries < wanted)
    throw bad(`an L1 table of ${header.l1Entries} entries (${wanted} are needed)`);
  if (header.refcountTableClusters === 0 || header.refcountTableClusters * clusterBytes > LIMITS.refcountTableBytes) {
    throw bad(`a refcount table of ${header.refcountTableClusters} clusters`);
  }
  if (header.snapshots > LIMITS.snapshots) throw bad(`${header.snapshots} snapshots`);
  const tables = [
    ['L1 table', header.l1Offset, header.l1Entries * 8],
    ['refcount table', header.refcountTableOffset, header.refcountTableClusters * clusterBytes],
    ['snapshot table', header.snapshotsOffset, header.snapshots * 40],
  ] as const;
  for (const [name, offset, length] of tables) {
    if (length === 0) continue;
    if (offset % clusterBytes || offset === 0) throw bad(`the ${name} is at byte ${offset}`);
    // QEMU grows a file only by what it writes, so that the last cluster may be cut.
    if (offset >= fileBytes) throw new DiskError('truncated', `qcow2: the ${name} lies past the end of the file; copy the image again`);
  }
}
