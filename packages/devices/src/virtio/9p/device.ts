import { DeviceError } from '../../errors.js';
import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';
import type { Visitor } from '../ring/chain.js';
import { FilesConfig, FilesFeature, MOST_TAG_BYTES } from './registers.js';

/** A message and the room for its answer. */
export interface FileExchange {
  readonly readableBytes: number;
  readonly writableBytes: number;
  read(offset: number, target: Uint8Array): number;
  write(offset: number, source: Uint8Array): number;
  visitReadable(offset: number, length: number, visit: Visitor): number;
  visitWritable(offset: number, length: number, visit: Visitor): number;
}

/** The server behind a 9P device: `FileServer` of `@nestvm/folders`, or another. */
export interface FileBackend {
  /** Answers a message at once; returns the bytes of the answer, or 0 when what came is no message. */
  exchange(exchange: FileExchange): number;
  /** The driver has gone. */
  reset(): void;
  /** What the driver holds, as plain data. */
  save(): unknown;
  load(saved: unknown): void;
}

/** A 9P device's server, and the name that the guest mounts it by. */
export interface VirtioFilesOptions {
  /** Unit name (default `virtio-9p`). */
  readonly name?: string;
  readonly server: FileBackend;
  /** 1 to 255 bytes in UTF-8. */
  readonly tag: string;
  readonly packed?: boolean;
}

/** virtio-9p ("VIRTIO", 9P Device): carries 9P messages to a server. */
export class VirtioFiles extends VirtioDevice {
  private readonly server: FileBackend;
  private readonly tag: Uint8Array;

  constructor({ name = 'virtio-9p', server, tag, packed = false }: VirtioFilesOptions) {
    const bytes = new TextEncoder().encode(tag);
    super({
      name,
      type: VirtioType.NINE_P,
      queues: [128],
      features: [FilesFeature.MOUNT_TAG],
      configBytes: FilesConfig.TAG + bytes.length,
      packed,
    });
    if (bytes.length < 1 || bytes.length > MOST_TAG_BYTES)
      throw new DeviceError('bad-option', `${name}: a mount tag of ${bytes.length} bytes cannot be; use 1 to ${MOST_TAG_BYTES}`);
    this.server = server;
    this.tag = bytes;
    this.stopped();
  }

  protected override stopped(): void {
    this.config[FilesConfig.TAG_LENGTH] = this.tag.length;
    this.config.set(this.tag, FilesConfig.TAG);
    this.server.reset();
  }

  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const written = this.server.exchange(chain);
      if (written === 0) {
        this.violated('device-request', queue.index, `a message of ${chain.readableBytes} bytes with room for ${chain.writableBytes}`);
        return;
      }
      queue.push(chain, written);
    }
    queue.publish();
  }

  protected override saveOwn(): unknown {
    return this.server.save();
  }

  protected override loadOwn(saved: unknown): void {
    this.server.load(saved);
  }
}
