import { DESCRIPTOR_BYTES, DescriptorFlag, PackedEvent } from '../registers.js';
import type { DriverMemory } from './memory.js';
import type { DriverBuffer, DriverQueue, DriverQueueOptions, UsedBuffer } from './queue.js';

const { NEXT, WRITE, INDIRECT, AVAIL, USED } = DescriptorFlag;

/** A packed virtqueue, driver side. */
export class PackedDriverQueue implements DriverQueue {
  readonly size: number;
  readonly descriptors: number;
  readonly driver: number;
  readonly device: number;
  private readonly memory: DriverMemory;
  private readonly slots = new Map<number, number>();
  private next = 0;
  private wrap = true;
  private used = 0;
  private usedWrap = true;
  private free: number;
  private nextId = 0;
  private fresh = 0;
  private start = 0;
  private startWrap = true;

  constructor(private readonly options: DriverQueueOptions) {
    const { memory, size } = options;
    this.memory = memory;
    this.size = size;
    this.free = size;
    this.descriptors = memory.allocate(size * DESCRIPTOR_BYTES, 16);
    this.driver = memory.allocate(4, 4);
    this.device = memory.allocate(4, 4);
  }

  add(buffers: readonly DriverBuffer[]): number {
    const { memory, options } = this;
    const count = options.indirect ? 1 : buffers.length;
    if (count > this.free) throw new RangeError('driver queue: no descriptor is free; poll first');
    const id = this.freshId();
    const head = this.descriptors + this.next * DESCRIPTOR_BYTES;
    const headWrap = this.wrap;
    const list = options.indirect ? [this.table(buffers)] : buffers;
    let headFlags = 0;
    list.forEach(({ address, length, writable }, i) => {
      const at = this.descriptors + this.next * DESCRIPTOR_BYTES;
      const flags = (writable ? WRITE : 0) | (i < count - 1 ? NEXT : 0) | (options.indirect ? INDIRECT : 0);
      memory.setU64(at, address);
      memory.setU32(at + 8, length);
      memory.setU16(at + 12, id);
      if (i === 0) headFlags = flags;
      else memory.setU16(at + 14, flags | (this.wrap ? AVAIL : USED));
      this.step();
    });
    // The head last: that is when the chain becomes available.
    memory.setU16(head + 14, headFlags | (headWrap ? AVAIL : USED));
    this.slots.set(id, count);
    this.free -= count;
    this.fresh += count;
    return id;
  }

  poll(): UsedBuffer | undefined {
    const { memory } = this;
    const at = this.descriptors + this.used * DESCRIPTOR_BYTES;
    const flags = memory.u16(at + 14);
    const available = (flags & AVAIL) !== 0;
    if (available !== ((flags & USED) !== 0) || available !== this.usedWrap) return undefined;
    const id = memory.u16(at + 12);
    const count = this.slots.get(id);
    if (count === undefined) throw new RangeError(`driver queue: the device used buffer ${id}, which it did not have`);
    this.slots.delete(id);
    this.free += count;
    this.used += count;
    if (this.used >= this.size) {
      this.used -= this.size;
      this.usedWrap = !this.usedWrap;
    }
    if (this.options.eventIndex) this.setInterrupts(true);
    return { id, written: (flags & WRITE) === 0 ? 0 : memory.u32(at + 8) };
  }

  wantsNotification(): boolean {
    const { memory, fresh, start, startWrap, size } = this;
    this.fresh = 0;
    this.start = this.next;
    this.startWrap = this.wrap;
    const flags = memory.u16(this.device + 2) & 3;
    if (flags !== PackedEvent.DESCRIPTOR) return flags === PackedEvent.ENABLE;
    const event = memory.u16(this.device);
    const distance = (event & 0x7fff) + (((event & 0x8000) !== 0) === startWrap ? 0 : size) - start;
    return distance >= 0 && distance < fresh;
  }

  setInterrupts(wanted: boolean): void {
    if (wanted && this.options.eventIndex) {
      this.memory.setU16(this.driver, this.used | (this.usedWrap ? 0x8000 : 0));
      this.memory.setU16(this.driver + 2, PackedEvent.DESCRIPTOR);
    } else this.memory.setU16(this.driver + 2, wanted ? PackedEvent.ENABLE : PackedEvent.DISABLE);
  }

  get notificationData(): number {
    return this.next | (this.wrap ? 0x8000 : 0);
  }

  private step(): void {
    if (++this.next < this.size) return;
    this.next = 0;
    this.wrap = !this.wrap;
  }

  private freshId(): number {
    while (this.slots.has(this.nextId)) this.nextId = (this.nextId + 1) % this.size;
    const id = this.nextId;
    this.nextId = (id + 1) % this.size;
    return id;
  }

  private table(buffers: readonly DriverBuffer[]): DriverBuffer {
    const { memory } = this;
    const address = memory.allocate(buffers.length * DESCRIPTOR_BYTES, 16);
    buffers.forEach((buffer, i) => {
      const at = address + i * DESCRIPTOR_BYTES;
      memory.setU64(at, buffer.address);
      memory.setU32(at + 8, buffer.length);
      memory.setU16(at + 14, buffer.writable ? WRITE : 0);
    });
    return { address, length: buffers.length * DESCRIPTOR_BYTES, writable: false };
  }
}
