import { HeldBlocks } from '@nestvm/state';
import { DeviceError } from '../../errors.js';

/** When a backend answers later; nothing: it has done it. */
export type Pending = void | Promise<void>;

/**
 * Where a disk's bytes are. Offsets and lengths in bytes, inside `sizeBytes`. Failures are thrown (or rejected) and become I/O errors of the guest.
 */
export interface BlockBackend {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** What of the disk is in memory only, so that snapshots of the machine have to carry it. Absent: nothing. */
  readonly held?: HeldBlocks | undefined;
  read(offset: number, target: Uint8Array): Pending;
  write(offset: number, source: Uint8Array): Pending;
  /** Reads a range into several places, or writes it from several, in one step. Absent: piece by piece. */
  readParts?(offset: number, targets: readonly Uint8Array[]): Pending;
  writeParts?(offset: number, sources: readonly Uint8Array[]): Pending;
  /** Everything written before is on stable storage afterwards. */
  flush(): Pending;
  /** The bytes do not matter any more. */
  discard?(offset: number, length: number): Pending;
  /** The bytes read as zeroes afterwards (default: zeroes are written). */
  writeZeroes?(offset: number, length: number, mayUnmap: boolean): Pending;
}

const CLUSTER_BYTES = 0x1_0000;

/** A disk in memory that starts as zeroes; only clusters that were written take room. */
export class MemoryDisk implements BlockBackend {
  readonly held: HeldBlocks;

  constructor(
    readonly sizeBytes: number,
    readonly readOnly = false,
  ) {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
      throw new DeviceError('bad-option', `memory disk: ${sizeBytes} bytes cannot be; give a whole number`);
    this.held = new HeldBlocks(sizeBytes, CLUSTER_BYTES);
  }

  read(offset: number, target: Uint8Array): void {
    eachCluster(offset, target.length, (cluster, from, length, done) => {
      const bytes = this.held.get(cluster);
      if (bytes) target.set(bytes.subarray(from, from + length), done);
      else target.fill(0, done, done + length);
    });
  }

  write(offset: number, source: Uint8Array): void {
    eachCluster(offset, source.length, (cluster, from, length, done) => {
      let bytes = this.held.writable(cluster);
      if (bytes === undefined) this.held.set(cluster, (bytes = new Uint8Array(CLUSTER_BYTES)));
      bytes.set(source.subarray(done, done + length), from);
    });
  }

  flush(): void {}

  discard(offset: number, length: number): void {
    eachCluster(offset, length, (cluster, from, part) => {
      if (part === CLUSTER_BYTES) this.held.delete(cluster);
      else this.held.writable(cluster)?.fill(0, from, from + part);
    });
  }

  writeZeroes(offset: number, length: number): void {
    this.discard(offset, length);
  }
}

/** A disk whose changes stay in memory: what `snapshot=on` means. */
export class OverlayDisk implements BlockBackend {
  readonly readOnly = false;
  readonly held: HeldBlocks;

  constructor(private readonly base: BlockBackend) {
    this.held = new HeldBlocks(base.sizeBytes, CLUSTER_BYTES);
  }

  get sizeBytes(): number {
    return this.base.sizeBytes;
  }

  read(offset: number, target: Uint8Array): Pending {
    return inTurn(pieces(offset, target.length), ({ cluster, from, length, done }) => {
      const bytes = this.held.get(cluster);
      const part = target.subarray(done, done + length);
      if (bytes === undefined) return this.base.read(offset + done, part);
      part.set(bytes.subarray(from, from + length));
    });
  }

  write(offset: number, source: Uint8Array): Pending {
    return inTurn(pieces(offset, source.length), ({ cluster, from, length, done }) => {
      const put = (bytes: Uint8Array): void => {
        bytes.set(source.subarray(done, done + length), from);
        this.held.set(cluster, bytes);
      };
      const own = this.held.get(cluster);
      if (own) return put(own);
      const fresh = new Uint8Array(CLUSTER_BYTES);
      const start = cluster * CLUSTER_BYTES;
      const loading =
        length === CLUSTER_BYTES ? undefined : this.base.read(start, fresh.subarray(0, Math.min(CLUSTER_BYTES, this.sizeBytes - start)));
      return loading ? loading.then(() => put(this.held.get(cluster) ?? fresh)) : put(fresh);
    });
  }

  flush(): void {}
}

interface Piece {
  readonly cluster: number;
  readonly from: number;
  readonly length: number;
  readonly done: number;
}

function eachCluster(offset: number, length: number, visit: (cluster: number, from: number, length: number, done: number) => void): void {
  for (let done = 0; done < length; ) {
    const at = offset + done;
    const cluster = Math.floor(at / CLUSTER_BYTES);
    const from = at - cluster * CLUSTER_BYTES;
    const part = Math.min(length - done, CLUSTER_BYTES - from);
    visit(cluster, from, part, done);
    done += part;
  }
}

function pieces(offset: number, length: number): Piece[] {
  const result: Piece[] = [];
  eachCluster(offset, length, (cluster, from, part, done) => result.push({ cluster, from, length: part, done }));
  return result;
}

/** Does a step for each item, one after the other; without a promise as long as no step makes one. */
export function inTurn<T>(items: readonly T[], step: (item: T) => Pending): Pending {
  for (let i = 0; i < items.length; i++) {
    const pending = step(items[i]!);
    if (pending) return pending.then(() => inTurn(items.slice(i + 1), step));
  }
}
