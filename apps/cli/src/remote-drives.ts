import { inflateRawSync } from 'node:zlib';
import { type ByteSource, DiskError, openHttpSource, openRemoteImage } from '@nestvm/disks';
import { UsageError } from './errors.js';
import type { BlockNode } from './options/blockdev.js';
import type { DriveSpec } from './options/drives.js';

/** A server that says nothing for so long is not there. */
const ANSWER_MS = 30_000;

/** Whether an image is on a web server. */
export const isRemote = (path: string): boolean => /^https?:\/\//i.test(path);

/** Says once what is wrong with a file: the guest sees an I/O error only. */
class TalkingSource implements ByteSource {
  private said = '';

  constructor(private readonly source: ByteSource) {}

  get name(): string {
    return this.source.name;
  }

  get sizeBytes(): number {
    return this.source.sizeBytes;
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array> {
    try {
      return await this.source.read(offset, lengthBytes);
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.said) process.stderr.write(`nestvm: ${message}\r\n`);
      this.said = message;
      throw error;
    }
  }
}

async function openSource(url: string): Promise<ByteSource> {
  const patient: typeof fetch = (address, init) => fetch(address, { ...init, signal: AbortSignal.timeout(ANSWER_MS) });
  return new TalkingSource(await openHttpSource(url, { fetch: patient }));
}

const isWeb = (node: BlockNode | undefined): boolean => node?.driver === 'http' || node?.driver === 'https';

/** Whether a node is an image on a web server as it is, and not a part of one or something above another. */
const isPlain = (node: BlockNode): boolean =>
  isWeb(node) ||
  ((node.driver === 'raw' || node.driver === 'qcow2') &&
    isWeb(node.below) &&
    node.backing === undefined &&
    node.offsetBytes === undefined &&
    node.sizeBytes === undefined);

/** The drive with its image opened where that is on a web server; rejects with `UsageError`. */
export async function openRemote(drive: DriveSpec): Promise<DriveSpec> {
  const { option, path, format, readOnly, node } = drive;
  if (!isRemote(path)) return drive;
  if (node && !isPlain(node))
    throw new UsageError(
      `${option}: above http and https there is raw or qcow2 for the whole image, and nothing else; name the image so, or copy it`,
    );
  try {
    const opened = await openRemoteImage(path, {
      open: openSource,
      readOnly,
      ...(format === undefined ? {} : { format }),
      decompress: (_kind, data, lengthBytes) => inflateRawSync(data, { maxOutputLength: lengthBytes }),
    });
    if (opened.sizeBytes > 0) return { ...drive, opened };
  } catch (error) {
    if (error instanceof DiskError) throw new UsageError(`${option}: ${error.message}`);
    throw error;
  }
  throw new UsageError(`${option}: the file has no bytes; is it the image?`);
}

/** Opens the images that are on web servers; rejects with `UsageError`. */
export const openRemoteDrives = (drives: readonly DriveSpec[]): Promise<DriveSpec[]> => Promise.all(drives.map(openRemote));
