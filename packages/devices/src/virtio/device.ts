import type { Clock, GuestMemory, Width } from '@nestvm/bus';
import type { HeldBlocks } from '@nestvm/state';
import { DeviceError } from '../errors.js';
import { Gate } from '../gate.js';
import { type ClauseName, type Violation } from './clauses.js';
import { type QueueOwner, Virtqueue } from './queue.js';
import { MAX_QUEUE_SIZE, VirtioFeature, VirtioStatus } from './registers.js';
import type { Chain } from './ring/chain.js';
import { type SavedVirtio, virtioSchema } from './state.js';

/** What a transport gives the device that it carries. */
export interface VirtioCarrier {
  readonly memory: GuestMemory;
  readonly clock?: Clock;
  /** Used-buffer notification of a queue. */
  queueInterrupt(queue: number): void;
  /** Configuration-change notification. */
  configInterrupt(): void;
}

/** What a device type says of itself. */
export interface VirtioIdentity {
  /** Unit name. */
  readonly name: string;
  /** Device type (`VirtioType`). */
  readonly type: number;
  /** Size of each queue. */
  readonly queues: readonly number[];
  /** Feature bits of the type; those of rings and transports are added. */
  readonly features: readonly number[];
  /** Bytes of the configuration space. */
  readonly configBytes: number;
  /** Feature bits of rings that are not offered (`VirtioFeature`); `RING_PACKED` is offered only when `packed` is set. */
  readonly without?: readonly number[];
  readonly packed?: boolean;
}

/** A disk of which something is in memory only. */
export interface HeldDisk {
  readonly name: string;
  readonly blocks: HeldBlocks;
}

const RING_FEATURES: readonly number[] = [
  VirtioFeature.ANY_LAYOUT,
  VirtioFeature.INDIRECT_DESC,
  VirtioFeature.EVENT_IDX,
  VirtioFeature.VERSION_1,
  VirtioFeature.IN_ORDER,
  VirtioFeature.NOTIFICATION_DATA,
  VirtioFeature.RING_RESET,
];

/**
 * A virtio device without its transport: status, features, configuration space, queues ("VIRTIO", Basic Facilities).
 * A device type derives from it, takes buffers in `notified` and fills `config`.
 */
export abstract class VirtioDevice implements QueueOwner {
  readonly name: string;
  readonly type: number;
  readonly queues: readonly Virtqueue[];
  /** Features offered and accepted, as two words. */
  readonly offered = new Uint32Array(2);
  readonly accepted = new Uint32Array(2);
  /** Configuration space as the driver reads it. */
  readonly config: Uint8Array;
  status = 0;
  /** Changes with the configuration space. */
  generation = 0;
  /** What the driver did wrong last. */
  violation: Violation | undefined;
  /** Told of every violation, for a log. */
  onViolation: ((device: VirtioDevice, violation: Violation) => void) | undefined;
  /** Something for the guest has happened: ends a sleep of the machine. */
  onActivity: (() => void) | undefined;
  packed = false;
  indirect = false;
  eventIndex = false;
  inOrder = false;
  protected carrier: VirtioCarrier | undefined;
  protected readonly gate = new Gate();

  constructor(readonly identity: VirtioIdentity) {
    this.name = identity.name;
    this.type = identity.type;
    this.config = new Uint8Array(identity.configBytes);
    this.queues = identity.queues.map((size, index) => {
      if (size < 1 || size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0)
        throw new DeviceError('bad-option', `${identity.name}: a queue of ${size} descriptors cannot be; use a power of two up to ${MAX_QUEUE_SIZE}`);
      return new Virtqueue(this, index, size);
    });
    const ring = RING_FEATURES.filter((bit) => identity.without?.includes(bit) !== true);
    for (const bit of [...identity.features, ...ring, ...(identity.packed ? [VirtioFeature.RING_PACKED] : [])]) this.offer(bit);
  }

  // For device types.

  /** The driver says that buffers are available in a queue, or may have been since before the device ran. */
  protected abstract notified(queue: Virtqueue): void;

  /** DRIVER_OK has been set, or a state been loaded in which it was. */
  protected started(): void {}

  /** Back to power-on; `config` is the type's to set again. */
  protected stopped(): void {}

  /** The driver writes configuration space; ignored unless the type says otherwise. */
  protected configWritten(_offset: number, _width: Width, _value: number): void {}

  /** State beside that of rings and registers, as plain data. */
  protected saveOwn(): unknown {
    return null;
  }

  protected loadOwn(_saved: unknown): void {}

  /** Buffers that were held when the state was saved: process them again. */
  protected resume(_queue: Virtqueue, _chains: readonly Chain[]): void {}

  protected offer(bit: number): void {
    this.offered[bit >>> 5]! |= 1 << (bit & 31);
  }

  /** Offers a feature or takes it from the offer, before a driver looks. With ACCESS_PLATFORM, which only this offers, drivers ask for the bus address of each buffer. */
  setOffered(bit: number, offered: boolean): void {
    if (offered) this.offer(bit);
    else this.offered[bit >>> 5]! &= ~(1 << (bit & 31));
  }

  /** Whether a feature was negotiated. */
  negotiated(bit: number): boolean {
    return ((this.accepted[bit >>> 5]! >>> (bit & 31)) & 1) === 1;
  }

  /** Tells the driver that the configuration space changed. */
  configChanged(): void {
    this.generation = (this.generation + 1) & 0xff;
    if (this.status & VirtioStatus.DRIVER_OK) this.carrier?.configInterrupt();
    this.onActivity?.();
  }

  // For queues.

  get memory(): GuestMemory {
    if (this.carrier === undefined) throw new DeviceError('bad-option', `${this.name}: not attached; plug it into a transport first`);
    return this.carrier.memory;
  }

  /** No buffer is taken: the machine stands still. */
  get frozen(): boolean {
    return this.gate.closed;
  }

  get running(): boolean {
    return (this.status & (VirtioStatus.DRIVER_OK | VirtioStatus.NEEDS_RESET)) === VirtioStatus.DRIVER_OK;
  }

  /** A driver broke a clause: NEEDS_RESET, and nothing more is taken from the queues until then ("VIRTIO", Device Status Field). */
  violated(clause: ClauseName, queue: number, detail: string): void {
    this.violation = { clause, queue, detail };
    this.onViolation?.(this, this.violation);
    const tell = this.running;
    this.status |= VirtioStatus.NEEDS_RESET;
    if (tell) this.configChanged();
  }

  interrupt(queue: number): void {
    this.carrier?.queueInterrupt(queue);
    this.onActivity?.();
  }

  // For transports.

  connect(carrier: VirtioCarrier): void {
    this.carrier = carrier;
  }

  /** Word `select` of the features, offered. */
  readFeatures(select: number): number {
    return this.offered[select] ?? 0;
  }

  /** Word `select` of what the driver accepts; ignored once FEATURES_OK is set. */
  writeFeatures(select: number, value: number): void {
    if (select < 2 && (this.status & (VirtioStatus.FEATURES_OK | VirtioStatus.DRIVER_OK)) === 0) this.accepted[select] = value;
  }

  /** Writes the status; 0 resets. `legacy`: the driver uses the legacy interface, which has no FEATURES_OK. */
  setStatus(value: number, legacy = false): void {
    if (value === 0) {
      this.reset();
      return;
    }
    const before = this.status;
    let next = (before | (value & VirtioStatus.ALL & ~VirtioStatus.NEEDS_RESET)) & 0xff;
    const starting = (next & ~before & VirtioStatus.DRIVER_OK) !== 0;
    if (legacy && starting) {
      this.accepted[0]! &= this.offered[0]!;
      this.accepted[1] = 0;
    } else if (!legacy && (next & ~before & VirtioStatus.FEATURES_OK) !== 0 && !this.acceptable()) next &= ~VirtioStatus.FEATURES_OK;
    this.applyFeatures();
    if (starting && !legacy && (next & VirtioStatus.FEATURES_OK) === 0) {
      this.status = next & ~VirtioStatus.DRIVER_OK;
      this.violated('queue-enable-order', -1, 'DRIVER_OK without FEATURES_OK');
      return;
    }
    this.status = next;
    if (starting && this.running) {
      this.started();
      for (const queue of this.queues) if (queue.enabled) this.notify(queue.index);
    }
  }

  /** A queue notification. Numbers that are no queue are ignored. */
  notify(index: number): void {
    const queue = this.queues[index];
    if (queue?.enabled && this.running) this.notified(queue);
  }

  /** Resets one queue ("VIRTIO", Virtqueue Reset). */
  resetQueue(index: number): void {
    this.queues[index]?.reset();
  }

  reset(): void {
    this.gate.forget();
    this.status = 0;
    this.violation = undefined;
    this.accepted.fill(0);
    this.applyFeatures();
    for (const queue of this.queues) queue.reset();
    this.stopped();
  }

  /** The machine stands still: nothing that comes from outside reaches memory and registers until `thaw`. */
  freeze(): void {
    this.gate.close();
  }

  thaw(): void {
    if (!this.gate.closed) return;
    this.gate.open();
    // What waited for buffers.
    for (const queue of this.queues) this.notify(queue.index);
  }

  /** Disks of which something is in memory only. */
  heldDisks(): readonly HeldDisk[] {
    return [];
  }

  readConfig(offset: number, width: Width): number {
    let value = 0;
    for (let i = 0; i < width; i++) value |= (this.config[offset + i] ?? 0) << (8 * i);
    return value >>> 0;
  }

  writeConfig(offset: number, width: Width, value: number): void {
    if (offset < this.config.length) this.configWritten(offset, width, value);
  }

  save(): SavedVirtio {
    const { status, generation } = this;
    return {
      status,
      driverFeatures: [...this.accepted],
      generation,
      config: [...this.config],
      queues: this.queues.map((queue) => queue.save()),
      own: this.saveOwn(),
    };
  }

  load(saved: unknown): void {
    const state = virtioSchema.check(saved, this.name);
    if (state.queues.length !== this.queues.length || state.config.length !== this.config.length)
      throw new DeviceError('bad-state', `${this.name}: the snapshot has other queues or another configuration space; restore with the same options`);
    this.reset();
    this.accepted.set(state.driverFeatures);
    this.applyFeatures();
    this.config.set(state.config);
    this.generation = state.generation & 0xff;
    this.status = state.status & VirtioStatus.ALL;
    this.loadOwn(state.own);
    state.queues.forEach((queue, i) => this.queues[i]!.load(queue));
    if (!this.running) return;
    this.started();
    // Not before the machine runs: until then its disks are somebody else's.
    for (const queue of this.queues) if (queue.held.length > 0) this.gate.pass(() => this.resume(queue, [...queue.held]));
  }

  private acceptable(): boolean {
    const known = this.accepted.every((word, i) => (word & ~this.offered[i]!) === 0);
    return known && this.negotiated(VirtioFeature.VERSION_1);
  }

  private applyFeatures(): void {
    this.packed = this.negotiated(VirtioFeature.RING_PACKED);
    this.indirect = this.negotiated(VirtioFeature.INDIRECT_DESC);
    this.eventIndex = this.negotiated(VirtioFeature.EVENT_IDX);
    this.inOrder = this.negotiated(VirtioFeature.IN_ORDER);
  }
}
