import type { BlockBackend } from '@nestvm/devices/virtio';
import { reasonOf } from '../files.js';
import type { ErrorPolicy } from '../options/block-errors.js';

/** A request that the host could not carry out, and what comes of it. */
export interface BlockFailure {
  /** Name of the drive. */
  readonly device: string;
  readonly operation: 'read' | 'write';
  readonly action: 'report' | 'ignore' | 'stop';
  readonly noSpace: boolean;
  readonly reason: string;
}

/** Is told of failures. Of those with the action `stop` the promise resolves when they are to be tried again. */
export type FailureListener = (failure: BlockFailure) => Promise<void> | void;

type Pending = void | Promise<void>;

/** A disk for a device: what fails below is reported, ignored, or stops the machine until it is tried again. */
export class GuardedDisk implements BlockBackend {
  readonly readParts?: (offset: number, targets: readonly Uint8Array[]) => Pending;
  readonly writeParts?: (offset: number, sources: readonly Uint8Array[]) => Pending;
  readonly discard?: (offset: number, length: number) => Pending;
  readonly writeZeroes?: (offset: number, length: number, mayUnmap: boolean) => Pending;

  constructor(
    private readonly device: string,
    private readonly disk: BlockBackend,
    private readonly policy: ErrorPolicy,
    private readonly tell: FailureListener,
  ) {
    if (disk.readParts) this.readParts = (offset, targets) => this.attempt('read', () => disk.readParts!(offset, targets));
    if (disk.writeParts) this.writeParts = (offset, sources) => this.attempt('write', () => disk.writeParts!(offset, sources));
    if (disk.discard) this.discard = (offset, length) => this.attempt('write', () => disk.discard!(offset, length));
    if (disk.writeZeroes) this.writeZeroes = (offset, length, mayUnmap) => this.attempt('write', () => disk.writeZeroes!(offset, length, mayUnmap));
  }

  get sizeBytes(): number {
    return this.disk.sizeBytes;
  }

  get readOnly(): boolean {
    return this.disk.readOnly;
  }

  get held(): BlockBackend['held'] {
    return this.disk.held;
  }

  read(offset: number, target: Uint8Array): Pending {
    return this.attempt('read', () => this.disk.read(offset, target));
  }

  write(offset: number, source: Uint8Array): Pending {
    return this.attempt('write', () => this.disk.write(offset, source));
  }

  flush(): Pending {
    return this.attempt('write', () => this.disk.flush());
  }

  private attempt(operation: 'read' | 'write', step: () => Pending): Pending {
    try {
      const pending = step();
      return pending && pending.catch((error: unknown) => this.failed(operation, step, error));
    } catch (error) {
      return this.failed(operation, step, error);
    }
  }

  private failed(operation: 'read' | 'write', step: () => Pending, error: unknown): Pending {
    const wanted = this.policy[operation];
    const noSpace = (error as { code?: unknown } | null)?.code === 'ENOSPC';
    const action = wanted === 'enospc' ? (noSpace ? 'stop' : 'report') : wanted;
    const again = this.tell({ device: this.device, operation, action, noSpace, reason: reasonOf(error) });
    if (action === 'ignore') return;
    if (action === 'report' || !again) throw error;
    return again.then(() => this.attempt(operation, step));
  }
}
