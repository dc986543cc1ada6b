import { DESCRIPTOR_BYTES, DescriptorFlag, PackedEvent } from '../registers.js';
import { RingArea } from './area.js';
import { Chain } from './chain.js';
import { DescriptorReader, type Ring, type RingOptions, type RingPosition } from './ring.js';

const EVENT_BYTES = 4;
const { NEXT, WRITE, INDIRECT, AVAIL, USED } = DescriptorFlag;

/** A packed virtqueue seen by the device ("VIRTIO", Packed Virtqueues). */
export class PackedRing implements Ring {
  private readonly ring: RingArea;
  private readonly driver: RingArea;
  private readonly device: RingArea;
  private readonly reader: DescriptorReader;
  private next = 0;
  private nextWrap = true;
  private used = 0;
  private usedWrap = true;
  /** Slots used since the last `publish`. */
  private fresh = 0;
  private wanted = -1;
  private broken = false;

  constructor(private readonly options: RingOptions) {
    const { memory, size, descriptors, driver, device } = options;
    this.reader = new DescriptorReader(options);
    this.ring = new RingArea(memory, descriptors, size * DESCRIPTOR_BYTES);
    this.driver = new RingArea(memory, driver, EVENT_BYTES);
    this.device = new RingArea(memory, device, EVENT_BYTES);
    if (this.ring.valid && this.driver.valid && this.device.valid) return;
    this.broken = true;
    options.violated(
      'queue-address',
      `a part of the queue at ${[descriptors, driver, device].map((part) => `0x${part.toString(16)}`).join(', ')} is no memory`,
    );
  }

  get waiting(): boolean {
    return !this.broken && this.isAvailable(this.ring.u16(this.next * DESCRIPTOR_BYTES + 14), this.nextWrap);
  }

  pop(): Chain | undefined {
    if (this.broken) return undefined;
    if (!this.waiting) {
      this.askForNotification();
      return undefined;
    }
    const chain = new Chain(this.options.memory, 0, 0);
    if (this.collect(chain)) return chain;
    this.broken = true;
    return undefined;
  }

  push({ id, slots }: Chain, written: number): void {
    const at = this.used * DESCRIPTOR_BYTES;
    this.ring.setU32(at + 8, written);
    const flags = (written > 0 ? WRITE : 0) | (this.usedWrap ? AVAIL | USED : 0);
    this.ring.setU32(at + 12, id | (flags << 16));
    this.fresh += slots;
    this.used += slots;
    if (this.used < this.options.size) return;
    this.used -= this.options.size;
    this.usedWrap = !this.usedWrap;
  }

  publish(): number {
    const { fresh } = this;
    this.fresh = 0;
    return fresh;
  }

  wants(count: number): boolean {
    const { options, used, usedWrap } = this;
    const flags = this.driver.u16(2) & 3;
    if (flags !== PackedEvent.DESCRIPTOR || !options.eventIndex) return flags !== PackedEvent.DISABLE;
    const event = this.driver.u16(0);
    const start = used - count;
    const wrap = (event & 0x8000) !== 0;
    // The places begin in this lap of the ring, or in the one before.
    const distance = (event & 0x7fff) + (wrap === usedWrap ? 0 : -options.size) - start;
    return distance >= 0 && distance < count;
  }

  get position(): RingPosition {
    return { available: this.next, used: this.used, availableWrap: this.nextWrap, usedWrap: this.usedWrap };
  }

  set position({ available, used, availableWrap, usedWrap }: RingPosition) {
    this.next = available % this.options.size;
    this.nextWrap = availableWrap;
    this.used = used % this.options.size;
    this.usedWrap = usedWrap;
    this.fresh = 0;
    this.wanted = -1;
  }

  private isAvailable(flags: number, wrap: boolean): boolean {
    return ((flags & AVAIL) !== 0) === wrap && ((flags & USED) !== 0) !== wrap;
  }

  private askForNotification(): void {
    if (!this.options.eventIndex) return;
    const place = this.next | (this.nextWrap ? 0x8000 : 0);
    if (this.wanted === place) return;
    this.wanted = place;
    this.device.setU32(0, place | (PackedEvent.DESCRIPTOR << 16));
  }

  /** Takes the chain at `next`; its id is that of its last descriptor. */
  private collect(chain: Chain): boolean {
    const { ring, reader, options } = this;
    let { next, nextWrap: wrap } = this;
    for (;;) {
      const at = next * DESCRIPTOR_BYTES;
      const flags = ring.u16(at + 14);
      if (!this.isAvailable(flags, wrap)) return reader.violated('packed-chain', `descriptor ${next} continues a chain and is not available`);
      if (!(flags & INDIRECT ? this.indirect(chain, at, flags) : reader.buffer(chain, ring, at, flags))) return false;
      chain.slots++;
      if (++next === options.size) {
        next = 0;
        wrap = !wrap;
      }
      if (!(flags & NEXT)) {
        chain.id = ring.u16(at + 12);
        this.next = next;
        this.nextWrap = wrap;
        return true;
      }
      if (chain.slots >= options.size)
        return reader.violated('descriptor-loop', `the chain at descriptor ${this.next} has more than ${options.size} descriptors`);
    }
  }

  private indirect(chain: Chain, at: number, flags: number): boolean {
    const { reader } = this;
    if (chain.slots > 0) return reader.violated('indirect-next', `an indirect descriptor continues a chain`);
    const table = reader.table(this.ring, at, flags);
    if (table === undefined) return false;
    for (let i = 0; i < table.count; i++) {
      const inner = i * DESCRIPTOR_BYTES;
      const innerFlags = table.area.u16(inner + 14);
      if (innerFlags & INDIRECT) return reader.violated('indirect-nested', `descriptor ${i} of an indirect table is indirect`);
      if (!reader.buffer(chain, table.area, inner, innerFlags & WRITE)) return false;
    }
    return true;
  }
}
