import type { GuestMemory } from '@nestvm/bus';
import type { ClauseName } from './clauses.js';
import { Chain } from './ring/chain.js';
import { PackedRing } from './ring/packed-ring.js';
import type { Ring } from './ring/ring.js';
import { SplitRing } from './ring/split-ring.js';
import type { SavedQueue } from './state.js';

/** What a queue asks of its device. */
export interface QueueOwner {
  readonly memory: GuestMemory;
  /** DRIVER_OK is set and nothing is broken. */
  readonly running: boolean;
  /** The machine stands still: no buffer is taken. */
  readonly frozen: boolean;
  readonly packed: boolean;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  readonly inOrder: boolean;
  violated(clause: ClauseName, queue: number, detail: string): void;
  interrupt(queue: number): void;
}

/** Parts of a queue, in the order of the registers. */
export const QueuePart = { DESCRIPTORS: 0, DRIVER: 1, DEVICE: 2 } as const;

/** A virtqueue of a device: its registers, and the ring once it runs. */
export class Virtqueue {
  size: number;
  enabled = false;
  /** Addresses as low and high words: descriptors, driver area, device area. */
  readonly words = new Uint32Array(6);
  /** Buffers that the device holds, oldest first. */
  readonly held: Chain[] = [];
  private ring: Ring | undefined;
  private late = 0;

  constructor(
    private readonly owner: QueueOwner,
    readonly index: number,
    /** Most descriptors that the device offers. */
    readonly maxSize: number,
  ) {
    this.size = maxSize;
  }

  /** Forgets everything. What the device still holds of it is dropped when it is pushed. */
  reset(): void {
    this.size = this.maxSize;
    this.enabled = false;
    this.words.fill(0);
    this.held.length = 0;
    this.ring = undefined;
    this.late = 0;
  }

  /** Address of a part (`QueuePart`). */
  address(part: number): number {
    return this.words[2 * part + 1]! * 2 ** 32 + this.words[2 * part]!;
  }

  /** Sets the number of descriptors; ignored once enabled. */
  setSize(size: number): void {
    if (!this.enabled) this.size = size;
  }

  /** Sets a word of an address; ignored once enabled. */
  setWord(word: number, value: number): void {
    if (!this.enabled) this.words[word] = value;
  }

  /** Checks the registers and starts taking buffers. */
  enable(): void {
    if (this.enabled) return;
    const { size, maxSize, owner } = this;
    const powerOfTwo = (size & (size - 1)) === 0;
    if (size === 0 || size > maxSize || !(owner.packed || powerOfTwo)) {
      owner.violated('queue-size', this.index, `${size} descriptors, of at most ${maxSize}`);
      return;
    }
    const masks = owner.packed ? [15, 3, 3] : [15, 1, 3];
    const crooked = masks.findIndex((mask, part) => (this.words[2 * part]! & mask) !== 0);
    if (crooked >= 0) owner.violated('queue-alignment', this.index, `part ${crooked} is at 0x${this.address(crooked).toString(16)}`);
    else this.enabled = true;
  }

  /** Whether the driver has made a buffer available. */
  get waiting(): boolean {
    return this.open()?.waiting ?? false;
  }

  /** Takes the next available buffer; undefined when there is none (the driver will notify), or the device does not run. */
  pop(): Chain | undefined {
    const chain = this.owner.frozen ? undefined : this.open()?.pop();
    if (chain) this.held.push(chain);
    return chain;
  }

  /** Gives a buffer back with the number of bytes written; `publish` shows it. Buffers of before a reset are dropped. */
  push(chain: Chain, written: number): void {
    const { held, ring } = this;
    const at = held.indexOf(chain);
    if (at < 0 || ring === undefined) return;
    if (!this.owner.inOrder) {
      held.splice(at, 1);
      ring.push(chain, written);
      return;
    }
    chain.written = written;
    while (held.length > 0 && held[0]!.written >= 0) {
      const first = held.shift()!;
      ring.push(first, first.written);
    }
  }

  /** Shows the driver what was pushed, with an interrupt if it wants one. */
  publish(): void {
    this.late += this.ring?.publish() ?? 0;
    this.interruptLate();
  }

  /**
   * Shows the driver what was pushed; whether it wants an interrupt is asked by `interruptLate`, which the device owes it. Returns the places that wait for that:
   * none when it wants none, which it says for good ("VIRTIO", Used Buffer Notification Suppression).
   */
  publishLate(): number {
    this.late += this.ring?.publish() ?? 0;
    if (this.late > 0 && this.ring?.wants(this.late) === false) this.late = 0;
    return this.late;
  }

  /** An interrupt for what has been published without, if the driver still wants one: it may have looked meanwhile. */
  interruptLate(): void {
    const { late, ring, owner } = this;
    this.late = 0;
    if (late > 0 && ring?.wants(late) && owner.running) owner.interrupt(this.index);
  }

  /** One buffer at once: `push` and `publish`. */
  complete(chain: Chain, written: number): void {
    this.push(chain, written);
    this.publish();
  }

  save(): SavedQueue {
    const { size, enabled, words, ring, held } = this;
    return {
      size,
      enabled,
      words: [...words],
      position: ring ? { ...ring.position } : null,
      held: held.map(({ id, slots, addresses, lengths, readables, written }) => ({
        id,
        slots,
        addresses: [...addresses],
        lengths: [...lengths],
        readables,
        written,
      })),
    };
  }

  /** Puts a checked state back; the buffers that were held are in `held` again. */
  load(saved: SavedQueue): void {
    this.reset();
    this.size = saved.size;
    this.words.set(saved.words);
    this.enabled = saved.enabled;
    if (saved.position === null) return;
    const ring = this.open();
    if (ring === undefined) return;
    ring.position = saved.position;
    for (const { id, slots, addresses, lengths, readables, written } of saved.held) {
      const chain = new Chain(this.owner.memory, id, slots);
      addresses.forEach((address, i) => chain.add(address, lengths[i] ?? 0, i >= readables));
      chain.written = written;
      this.held.push(chain);
    }
  }

  private open(): Ring | undefined {
    const { owner, index } = this;
    if (!this.enabled || !owner.running) return undefined;
    if (this.ring) return this.ring;
    const Format = owner.packed ? PackedRing : SplitRing;
    this.ring = new Format({
      memory: owner.memory,
      size: this.size,
      descriptors: this.address(QueuePart.DESCRIPTORS),
      driver: this.address(QueuePart.DRIVER),
      device: this.address(QueuePart.DEVICE),
      indirect: owner.indirect,
      eventIndex: owner.eventIndex,
      violated: (clause, detail) => owner.violated(clause, index, detail),
    });
    return owner.running ? this.ring : undefined;
  }
}
