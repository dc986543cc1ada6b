import type { Disk, DiskFile } from './disk.js';
import { DiskError } from './errors.js';
import { refuseForeign } from './foreign-formats.js';
import { QCOW_MAGIC, readHeader } from './qcow2/header.js';
import { type Decompress, Qcow2Disk } from './qcow2/qcow2-disk.js';
import { RawDisk } from './raw-disk.js';

/** Formats of images. */
export type ImageFormat = 'raw' | 'qcow2';

/** How files are found and opened: what the host gives. */
export interface ImageHost {
  /** Opens a file; whatever it throws passes through. */
  open(path: string, readOnly: boolean): DiskFile;
  /** The path of a backing file as named in the image at `from`. */
  resolve(from: string, name: string): string;
  /** A text that is equal for two paths exactly when they are one file. */
  identity(path: string): string;
  readonly decompress?: Decompress;
}

/** How an image is opened. */
export interface ImageOptions {
  /** Default: by its first bytes. */
  readonly format?: ImageFormat;
  readonly readOnly?: boolean;
}

/** Longest chain of backing files. */
const LONGEST_CHAIN = 200;

/** Opens an image with all files that it is built upon. Throws `DiskError` (whose message names the file), or what the host throws. */
export function openImage(host: ImageHost, path: string, options: ImageOptions = {}): Disk {
  return openLayer(host, path, options, new Set());
}

/** The format of a file, by its first bytes. Throws `DiskError` (`unsupported`) for formats that are not read here. */
export function probeFormat(file: DiskFile): ImageFormat {
  const start = new Uint8Array(4);
  file.read(0, start);
  if (new DataView(start.buffer).getUint32(0) === QCOW_MAGIC) return 'qcow2';
  refuseForeign(file);
  return 'raw';
}

function openLayer(host: ImageHost, path: string, options: ImageOptions, above: ReadonlySet<string>): Disk {
  const identity = host.identity(path);
  if (above.has(identity)) throw new DiskError('cyclic', `${path}: this image is its own backing file; mend the chain with 'qemu-img rebase -u'`);
  if (above.size >= LONGEST_CHAIN)
    throw new DiskError('cyclic', `${path}: more than ${LONGEST_CHAIN} backing files; shorten the chain with 'qemu-img commit'`);
  const readOnly = options.readOnly ?? false;
  const file = host.open(path, readOnly);
  let backing: Disk | undefined;
  try {
    const header = ofImage(path, () => ((options.format ?? probeFormat(file)) === 'raw' ? undefined : readHeader(file)));
    if (header === undefined) return ofImage(path, () => new RawDisk(file, readOnly));
    if (header.backingName !== undefined) {
      const format = ofImage(path, () => backingFormat(header.backingFormat));
      const below = host.resolve(path, header.backingName.replace(/^file:/, ''));
      backing = openLayer(host, below, { readOnly: true, ...(format === undefined ? {} : { format }) }, new Set([...above, identity]));
    }
    const parts = { readOnly, ...(backing ? { backing } : {}), ...(host.decompress ? { decompress: host.decompress } : {}) };
    return ofImage(path, () => new Qcow2Disk(file, parts));
  } catch (error) {
    backing?.close();
    file.close();
    throw error;
  }
}

/** What is thrown about an image names it; files that know their names (those of a web server) have said them already. */
function ofImage<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (error instanceof DiskError && !error.message.startsWith(path)) throw new DiskError(error.code, `${path}: ${error.message}`);
    throw error;
  }
}

function backingFormat(name: string | undefined): ImageFormat | undefined {
  if (name === undefined || name === 'raw' || name === 'qcow2') return name;
  throw new DiskError('unsupported', `qcow2: a backing file of format '${name}'; there are raw and qcow2: convert it with qemu-img`);
}
