import { resolve } from 'node:path';
import { type Disk, DiskError, type DiskFile, openImage, Qcow2Disk, RawDisk } from '@nestvm/disks';
import { UsageError } from '../errors.js';
import { HostFile, imageHost, unpackCluster } from '../host-images.js';
import { type BlockNode, filePathOf } from '../options/blockdev.js';
import { FaultFile } from './fault-file.js';

/** A file of zeros, which forgets what is written. */
class NullFile implements DiskFile {
  constructor(readonly sizeBytes: number) {}

  read(_offset: number, into: Uint8Array): void {
    into.fill(0);
  }

  write(): void {}

  flush(): void {}

  truncate(): void {}

  close(): void {}
}

/** A part of a file: it neither grows nor shrinks. */
class PartFile implements DiskFile {
  constructor(
    private readonly below: DiskFile,
    private readonly offset: number,
    readonly sizeBytes: number,
  ) {}

  read(offset: number, into: Uint8Array): void {
    const there = Math.max(0, Math.min(into.length, this.sizeBytes - offset));
    this.below.read(this.offset + offset, into.subarray(0, there));
    into.fill(0, there);
  }

  write(offset: number, from: Uint8Array): void {
    if (offset + from.length > this.sizeBytes)
      throw new DiskError('out-of-range', `raw: byte ${offset + from.length} is past the end of the part (size=)`);
    this.below.write(this.offset + offset, from);
  }

  flush(): void {
    this.below.flush();
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes !== this.sizeBytes) throw new DiskError('out-of-range', 'raw: a part of a file (size=) cannot grow');
  }

  close(): void {
    this.below.close();
  }
}

/** Opens a node as what a device has; throws `UsageError`. `unlocked`: whoever else has its files. */
export function openNode(given: BlockNode, unlocked = false): Disk {
  const node = unlocked || given.unlocked ? withoutLocks(given) : given;
  try {
    const disk = formatOf(node, node.readOnly);
    if (disk.sizeBytes > 0) return disk;
    disk.close();
    throw new UsageError(`${node.option}: the disk has no sectors`);
  } catch (error) {
    if (error instanceof DiskError) throw new UsageError(`${node.option}: ${error.message}`);
    throw error;
  }
}

/** The node, of whose files nobody asks who else has them. */
const withoutLocks = ({ below, backing, ...node }: BlockNode): BlockNode => ({
  ...node,
  unlocked: true,
  ...(below ? { below: withoutLocks(below) } : {}),
  ...(backing === undefined ? {} : { backing: backing && withoutLocks(backing) }),
});

function formatOf(node: BlockNode, readOnly: boolean): Disk {
  return node.driver === 'qcow2' ? qcow2Of(node, readOnly) : new RawDisk(protocolOf(node, readOnly), readOnly);
}

/** A node that others are built upon. */
function protocolOf(node: BlockNode, readOnly: boolean): DiskFile {
  switch (node.driver) {
    case 'file':
      return new HostFile(node.option, node.path!, readOnly || node.readOnly, node.unlocked);
    case 'http':
    case 'https':
      throw new UsageError(`${node.option}: an image on a web server is read as a whole, by raw or qcow2 right above it`);
    case 'null-co':
      return new NullFile(node.sizeBytes!);
    case 'blkdebug':
      return new FaultFile(protocolOf(node.below!, readOnly), node.faults ?? []);
    case 'raw': {
      const below = protocolOf(node.below!, readOnly);
      const offset = node.offsetBytes ?? 0;
      if (node.offsetBytes === undefined && node.sizeBytes === undefined) return below;
      const size = node.sizeBytes ?? below.sizeBytes - offset;
      if (offset >= 0 && size > 0 && offset + size <= below.sizeBytes) return new PartFile(below, offset, size);
      below.close();
      throw new UsageError(`${node.option}: offset ${offset} and size ${size} are not inside a file of ${below.sizeBytes} bytes`);
    }
    default:
      throw new UsageError(`${node.option}: ${node.driver} gives a disk; a format is above a file: driver=file, raw, null-co or blkdebug`);
  }
}

function qcow2Of(node: BlockNode, readOnly: boolean): Disk {
  const below = node.below!;
  if (node.backing === undefined) return withOwnBacking(node, below, readOnly);
  const file = protocolOf(below, readOnly);
  let backing: Disk | undefined;
  try {
    // Without a backing file, what the image does not have reads as zeros.
    backing = node.backing === null ? new RawDisk(new NullFile(Number.MAX_SAFE_INTEGER - 511), true) : formatOf(node.backing, true);
    return new Qcow2Disk(file, { readOnly, backing, decompress: unpackCluster });
  } catch (error) {
    backing?.close();
    file.close();
    throw error;
  }
}

/** The backing file is the one that the image names, beside the image's own file. */
function withOwnBacking(node: BlockNode, below: BlockNode, readOnly: boolean): Disk {
  const path = resolve(filePathOf(below) ?? '.');
  const host = imageHost(node.option, node.unlocked);
  let first = true;
  return openImage(
    {
      ...host,
      open: (file, only) => {
        const top = first;
        first = false;
        return top ? protocolOf(below, only) : host.open(file, only);
      },
    },
    path,
    { format: 'qcow2', readOnly },
  );
}
