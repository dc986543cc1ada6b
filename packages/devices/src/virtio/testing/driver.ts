import { VirtioFeature, VirtioStatus } from '../registers.js';
import type { DriverMemory } from './memory.js';
import { PackedDriverQueue } from './packed-queue.js';
import { type DriverBuffer, type DriverQueue, SplitDriverQueue } from './queue.js';
import type { DriverTransport } from './transports.js';

/** What a driver asks for. */
export interface DriverOptions {
  readonly transport: DriverTransport;
  readonly memory: DriverMemory;
  /** Feature bits to accept, of those offered (default all but RING_PACKED, IN_ORDER and NOTIFICATION_DATA); with `legacy` those of the first word. */
  readonly features?: readonly number[];
  /** Uses the legacy interface: no FEATURES_OK. */
  readonly legacy?: boolean;
  /** Number of descriptors of each queue (default what the device offers; the legacy interface has no choice). */
  readonly queueSize?: number;
  /** Puts every chain into an indirect table (with INDIRECT_DESC). */
  readonly indirect?: boolean;
}

const SHY: readonly number[] = [VirtioFeature.RING_PACKED, VirtioFeature.IN_ORDER, VirtioFeature.NOTIFICATION_DATA];

/** The answer to a request: what the device wrote, cut to the bytes that it says it has written. */
export interface DriverAnswer {
  readonly written: number;
  readonly bytes: Uint8Array;
}

/** A driver for any virtio device: brings it up as "VIRTIO", Device Initialization, has it, and exchanges buffers. */
export class VirtioDriver {
  readonly transport: DriverTransport;
  readonly memory: DriverMemory;
  readonly queues: DriverQueue[] = [];
  readonly accepted = new Uint32Array(2);

  constructor(private readonly options: DriverOptions) {
    this.transport = options.transport;
    this.memory = options.memory;
  }

  /** Whether a feature was accepted. */
  has(bit: number): boolean {
    return ((this.accepted[bit >>> 5]! >>> (bit & 31)) & 1) === 1;
  }

  /** Resets the device, negotiates, sets up `queues` queues, and sets DRIVER_OK. False: the device did not take the features. */
  start(queues: number): boolean {
    const { transport } = this;
    const legacy = this.options.legacy ?? false;
    transport.status = 0;
    transport.status = VirtioStatus.ACKNOWLEDGE;
    transport.status = VirtioStatus.ACKNOWLEDGE | VirtioStatus.DRIVER;
    this.negotiate(legacy);
    let status = VirtioStatus.ACKNOWLEDGE | VirtioStatus.DRIVER;
    if (!legacy) {
      status |= VirtioStatus.FEATURES_OK;
      transport.status = status;
      if ((transport.status & VirtioStatus.FEATURES_OK) === 0) return false;
    }
    this.queues.length = 0;
    for (let queue = 0; queue < queues; queue++) this.setUp(queue);
    transport.status = status | VirtioStatus.DRIVER_OK;
    return true;
  }

  /** Makes a queue and enables it; `size` other than that of the options, as after a reset of the queue. */
  setUp(queue: number, size?: number): DriverQueue {
    const { memory, options } = this;
    const Format = this.has(VirtioFeature.RING_PACKED) ? PackedDriverQueue : SplitDriverQueue;
    const ring = new Format({
      memory,
      size: options.legacy ? this.transport.queueSize(queue) : (size ?? options.queueSize ?? this.transport.queueSize(queue)),
      eventIndex: this.has(VirtioFeature.EVENT_IDX),
      indirect: (options.indirect ?? false) && this.has(VirtioFeature.INDIRECT_DESC),
      legacy: options.legacy ?? false,
    });
    this.transport.enable(queue, ring);
    this.queues[queue] = ring;
    return ring;
  }

  /** Notifies the device of a queue, if it wants that. */
  kick(queue: number): void {
    const ring = this.queues[queue]!;
    if (ring.wantsNotification()) this.transport.notify(queue, this.has(VirtioFeature.NOTIFICATION_DATA) ? ring.notificationData : undefined);
  }

  /** Copies bytes into guest memory. */
  place(bytes: Uint8Array): DriverBuffer {
    const address = this.memory.allocate(bytes.length);
    this.memory.write(address, bytes);
    return { address, length: bytes.length, writable: false };
  }

  /** Room for the device to write. */
  room(length: number): DriverBuffer {
    return { address: this.memory.allocate(length), length, writable: true };
  }

  /** What is in buffers of `room`, one after the other. */
  contents(buffers: readonly DriverBuffer[]): Uint8Array {
    const writable = buffers.filter((buffer) => buffer.writable);
    const bytes = new Uint8Array(writable.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const { address, length } of writable) {
      this.memory.read(address, bytes.subarray(at, at + length));
      at += length;
    }
    return bytes;
  }

  /** Sends a request of readable parts and rooms to a device that answers at once. Throws `RangeError` when it does not. */
  request(queue: number, readable: readonly Uint8Array[], rooms: readonly number[]): DriverAnswer {
    const buffers = [...readable.map((bytes) => this.place(bytes)), ...rooms.map((length) => this.room(length))];
    const ring = this.queues[queue]!;
    const id = ring.add(buffers);
    this.kick(queue);
    const used = ring.poll();
    if (used?.id !== id) throw new RangeError(`driver: queue ${queue} has not answered`);
    return { written: used.written, bytes: this.contents(buffers) };
  }

  private negotiate(legacy: boolean): void {
    const { transport } = this;
    const wanted = this.options.features;
    for (let word = 0; word < (legacy ? 1 : 2); word++) {
      const offered = transport.features(word);
      let accepted = 0;
      for (let bit = 0; bit < 32; bit++) {
        const feature = word * 32 + bit;
        if (((offered >>> bit) & 1) === 1 && (wanted ? wanted.includes(feature) : !SHY.includes(feature))) accepted |= 1 << bit;
      }
      this.accepted[word] = accepted;
      transport.accept(word, accepted >>> 0);
    }
  }
}
