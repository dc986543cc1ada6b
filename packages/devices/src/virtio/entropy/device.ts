import { VirtioDevice } from '../device.js';
import type { Virtqueue } from '../queue.js';
import { VirtioType } from '../registers.js';

/** An entropy device's source. */
export interface VirtioEntropyOptions {
  /** Unit name (default `virtio-rng`). */
  readonly name?: string;
  /** Fills an array with random bytes, at once. */
  readonly fill: (target: Uint8Array) => void;
  readonly packed?: boolean;
}

/** Most bytes for one request, so that a guest cannot keep the host busy. */
const MOST_BYTES = 0x1_0000;

/** virtio-rng ("VIRTIO", Entropy Device). */
export class VirtioEntropy extends VirtioDevice {
  private readonly fill: (target: Uint8Array) => void;

  constructor({ name = 'virtio-rng', fill, packed = false }: VirtioEntropyOptions) {
    super({ name, type: VirtioType.ENTROPY, queues: [8], features: [], configBytes: 0, packed });
    this.fill = fill;
  }

  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (chain.readables > 0 || chain.writableBytes === 0) {
        this.violated('device-request', queue.index, 'a request for entropy has bytes to read, or none to write');
        return;
      }
      queue.push(
        chain,
        chain.visitWritable(0, Math.min(MOST_BYTES, chain.writableBytes), (bytes) => this.fill(bytes)),
      );
    }
    queue.publish();
  }
}
