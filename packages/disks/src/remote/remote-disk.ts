import type { HeldBlocks } from '@nestvm/state';
import type { Disk } from '../disk.js';
import { DiskError } from '../errors.js';
import { type ImageFormat, type ImageHost, openImage } from '../image.js';
import { OverlayDisk } from '../overlay-disk.js';
import type { Decompress } from '../qcow2/qcow2-disk.js';
import { MissingBytes, RemoteFile } from './remote-file.js';
import type { ByteSource } from './source.js';

/** How an image on a web server is opened. */
export interface RemoteImageOptions {
  /** Opens the file at an address: `(url) => openHttpSource(url, { fetch })`. */
  readonly open: (url: string) => Promise<ByteSource>;
  /** Default: by its first bytes. */
  readonly format?: ImageFormat;
  /** The disk cannot be written; else what is written is kept in memory, and gone at the end. */
  readonly readOnly?: boolean;
  /** Memory for what was read, for each file (default 64 MiB). */
  readonly cacheBytes?: number;
  readonly decompress?: Decompress;
}

/** Does something that may lack bytes, as often as it takes; at once when it lacks none. */
function complete<T>(act: () => T, done: () => void): T | Promise<T> {
  try {
    const result = act();
    done();
    return result;
  } catch (error) {
    if (!(error instanceof MissingBytes)) throw error;
    return error.fetch().then(() => complete(act, done));
  }
}

/** A disk whose bytes come when they are asked for. What is here already is answered at once, without a promise. */
export class RemoteDisk {
  constructor(
    private readonly disk: Disk,
    private readonly files: readonly RemoteFile[],
  ) {}

  get sizeBytes(): number {
    return this.disk.sizeBytes;
  }

  get readOnly(): boolean {
    return this.disk.readOnly;
  }

  /** What was written, which no server has. */
  get held(): HeldBlocks | undefined {
    return this.disk.held;
  }

  read(offset: number, into: Uint8Array): void | Promise<void> {
    return this.act(() => this.disk.read(offset, into));
  }

  write(offset: number, from: Uint8Array): void | Promise<void> {
    return this.act(() => this.disk.write(offset, from));
  }

  discard(offset: number, lengthBytes: number): void | Promise<void> {
    return this.act(() => this.disk.discard(offset, lengthBytes));
  }

  writeZeroes(offset: number, lengthBytes: number, mayUnmap: boolean): void | Promise<void> {
    return this.act(() => this.disk.writeZeroes(offset, lengthBytes, mayUnmap));
  }

  flush(): void {}

  close(): void {
    this.disk.close();
  }

  private act(act: () => void): void | Promise<void> {
    return complete(act, () => {
      for (const file of this.files) file.trim();
    });
  }
}

/**
 * Opens an image on a web server, with all files that it is built upon: their names are addresses relative to that of the image. Rejects with `DiskError`.
 */
export async function openRemoteImage(url: string, options: RemoteImageOptions): Promise<RemoteDisk> {
  const { open, readOnly = false, cacheBytes = 64 * 2 ** 20, format, decompress } = options;
  const files = new Map<string, RemoteFile>();
  const host: ImageHost = {
    open: (path) => {
      const known = files.get(path);
      if (known) return known;
      throw new MissingBytes(async () => void files.set(path, new RemoteFile(await open(path), cacheBytes)));
    },
    resolve: (from, name) => resolveAddress(from, name),
    identity: (path) => path,
    ...(decompress ? { decompress } : {}),
  };
  const image = { readOnly: true, ...(format === undefined ? {} : { format }) };
  const disk = await complete(
    () => openImage(host, url, image),
    () => {},
  );
  return new RemoteDisk(readOnly ? disk : new OverlayDisk(disk), [...files.values()]);
}

function resolveAddress(from: string, name: string): string {
  if (URL.canParse(name, from)) return new URL(name, from).href;
  throw new DiskError('bad-image', `${from}: the backing file '${name}' is no address; mend it with 'qemu-img rebase -u'`);
}
