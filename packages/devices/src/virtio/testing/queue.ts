import { DESCRIPTOR_BYTES, DescriptorFlag } from '../registers.js';
import { LEGACY_PAGE } from '../transports/pci/registers.js';
import type { DriverMemory } from './memory.js';

/** A buffer of a request. */
export interface DriverBuffer {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

/** A buffer that the device gave back. */
export interface UsedBuffer {
  readonly id: number;
  readonly written: number;
}

/** How a queue is laid out and used. */
export interface DriverQueueOptions {
  readonly memory: DriverMemory;
  readonly size: number;
  readonly eventIndex: boolean;
  /** Puts every chain into an indirect table. */
  readonly indirect: boolean;
  /** Split rings in one piece of whole pages, as the legacy interface has them. */
  readonly legacy?: boolean;
}

/** A virtqueue as a driver sees it. */
export interface DriverQueue {
  readonly size: number;
  /** Addresses of the descriptor, driver and device areas. */
  readonly descriptors: number;
  readonly driver: number;
  readonly device: number;
  /** Makes a chain available; returns its id. */
  add(buffers: readonly DriverBuffer[]): number;
  /** Takes the next used buffer. */
  poll(): UsedBuffer | undefined;
  /** Whether the device wants a notification for what was added since the last call. */
  wantsNotification(): boolean;
  /** Asks for an interrupt with the next used buffer, or for none (without EVENT_IDX: for any, or none). */
  setInterrupts(wanted: boolean): void;
  /** What NOTIFICATION_DATA carries: the next position. */
  readonly notificationData: number;
}

/** Writes a table of chained descriptors; `flagsOf` gets each one's flags. */
function writeDescriptor(memory: DriverMemory, at: number, { address, length, writable }: DriverBuffer, flags: number, next: number): void {
  memory.setU64(at, address);
  memory.setU32(at + 8, length);
  memory.setU16(at + 12, flags | (writable ? DescriptorFlag.WRITE : 0));
  memory.setU16(at + 14, next);
}

/** A split virtqueue, driver side. */
export class SplitDriverQueue implements DriverQueue {
  readonly size: number;
  readonly descriptors: number;
  readonly driver: number;
  readonly device: number;
  private readonly memory: DriverMemory;
  private readonly free: number[];
  private readonly chains = new Map<number, readonly number[]>();
  private available = 0;
  private told = 0;
  private used = 0;

  constructor(private readonly options: DriverQueueOptions) {
    const { memory, size } = options;
    this.memory = memory;
    this.size = size;
    const alignment = options.legacy ? LEGACY_PAGE : 4;
    this.descriptors = memory.allocate(size * DESCRIPTOR_BYTES, Math.max(16, alignment));
    this.driver = memory.allocate(6 + 2 * size, 2);
    this.device = memory.allocate(6 + 8 * size, alignment);
    this.free = Array.from({ length: size }, (_, i) => i);
  }

  add(buffers: readonly DriverBuffer[]): number {
    const { memory, size } = this;
    const slots = this.options.indirect ? [this.free.shift()!] : this.free.splice(0, buffers.length);
    const head = slots[0];
    if (head === undefined || slots.length < (this.options.indirect ? 1 : buffers.length))
      throw new RangeError('driver queue: no descriptor is free; poll first');
    if (this.options.indirect) this.writeIndirect(head, buffers);
    else {
      buffers.forEach((buffer, i) => {
        const next = slots[i + 1];
        writeDescriptor(memory, this.descriptors + slots[i]! * DESCRIPTOR_BYTES, buffer, next === undefined ? 0 : DescriptorFlag.NEXT, next ?? 0);
      });
    }
    this.chains.set(head, slots);
    memory.setU16(this.driver + 4 + 2 * (this.available % size), head);
    this.available = (this.available + 1) & 0xffff;
    memory.setU16(this.driver + 2, this.available);
    return head;
  }

  poll(): UsedBuffer | undefined {
    const { memory, size, device } = this;
    if (memory.u16(device + 2) === this.used) return undefined;
    const at = device + 4 + 8 * (this.used % size);
    const id = memory.u32(at);
    const slots = this.chains.get(id);
    if (slots === undefined) throw new RangeError(`driver queue: the device used buffer ${id}, which it did not have`);
    this.chains.delete(id);
    this.free.push(...slots);
    this.used = (this.used + 1) & 0xffff;
    if (this.options.eventIndex) this.setInterrupts(true);
    return { id, written: memory.u32(at + 4) };
  }

  wantsNotification(): boolean {
    const { memory, available, told } = this;
    this.told = available;
    if (!this.options.eventIndex) return (memory.u16(this.device) & 1) === 0;
    const event = memory.u16(this.device + 4 + 8 * this.size);
    return ((available - event - 1) & 0xffff) < ((available - told) & 0xffff);
  }

  setInterrupts(wanted: boolean): void {
    if (this.options.eventIndex) this.memory.setU16(this.driver + 4 + 2 * this.size, wanted ? this.used : (this.used - 1) & 0xffff);
    else this.memory.setU16(this.driver, wanted ? 0 : 1);
  }

  get notificationData(): number {
    return this.available;
  }

  private writeIndirect(head: number, buffers: readonly DriverBuffer[]): void {
    const { memory } = this;
    const table = memory.allocate(buffers.length * DESCRIPTOR_BYTES, 16);
    buffers.forEach((buffer, i) => {
      const last = i === buffers.length - 1;
      writeDescriptor(memory, table + i * DESCRIPTOR_BYTES, buffer, last ? 0 : DescriptorFlag.NEXT, last ? 0 : i + 1);
    });
    const whole = { address: table, length: buffers.length * DESCRIPTOR_BYTES, writable: false };
    writeDescriptor(memory, this.descriptors + head * DESCRIPTOR_BYTES, whole, DescriptorFlag.INDIRECT, 0);
  }
}
