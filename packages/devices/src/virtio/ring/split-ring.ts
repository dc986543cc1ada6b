import { DESCRIPTOR_BYTES, DescriptorFlag } from '../registers.js';
import { RingArea } from './area.js';
import { Chain } from './chain.js';
import { DescriptorReader, type Ring, type RingOptions, type RingPosition } from './ring.js';

const INDEX = 2;
const ENTRIES = 4;
const NO_INTERRUPT = 1;

/** A split virtqueue seen by the device ("VIRTIO", Split Virtqueues). */
export class SplitRing implements Ring {
  private readonly descriptors: RingArea;
  private readonly available: RingArea;
  private readonly usedArea: RingArea;
  private readonly reader: DescriptorReader;
  private last = 0;
  private used = 0;
  private published = 0;
  private wanted = -1;
  private broken = false;

  constructor(private readonly options: RingOptions) {
    const { memory, size, descriptors, driver, device } = options;
    this.reader = new DescriptorReader(options);
    this.descriptors = new RingArea(memory, descriptors, size * DESCRIPTOR_BYTES);
    this.available = new RingArea(memory, driver, ENTRIES + size * 2 + (options.eventIndex ? 2 : 0));
    this.usedArea = new RingArea(memory, device, ENTRIES + size * 8 + (options.eventIndex ? 2 : 0));
    if (this.descriptors.valid && this.available.valid && this.usedArea.valid) return;
    this.broken = true;
    options.violated(
      'queue-address',
      `a part of the queue at ${[descriptors, driver, device].map((part) => `0x${part.toString(16)}`).join(', ')} is no memory`,
    );
  }

  get waiting(): boolean {
    return !this.broken && this.available.u16(INDEX) !== this.last;
  }

  pop(): Chain | undefined {
    if (this.broken) return undefined;
    const { size, memory } = this.options;
    const index = this.available.u16(INDEX);
    if (index === this.last) {
      this.askForNotification();
      return undefined;
    }
    const count = (index - this.last) & 0xffff;
    if (count > size) return this.fail(this.reader.violated('avail-index', `${count} buffers are available in a queue of ${size}`));
    const head = this.available.u16(ENTRIES + 2 * (this.last & (size - 1)));
    if (head >= size) return this.fail(this.reader.violated('avail-head', `descriptor ${head} of ${size} is available`));
    const chain = new Chain(memory, head, 1);
    if (!this.collect(chain, this.descriptors, size, head, true)) return this.fail(false);
    this.last = (this.last + 1) & 0xffff;
    return chain;
  }

  push({ id }: Chain, written: number): void {
    this.usedArea.setPair(ENTRIES + 8 * (this.used & (this.options.size - 1)), id, written);
    this.used = (this.used + 1) & 0xffff;
  }

  publish(): number {
    const { used, published } = this;
    if (used === published) return 0;
    this.usedArea.setU16(INDEX, used);
    this.published = used;
    return (used - published) & 0xffff;
  }

  wants(count: number): boolean {
    const { used, options } = this;
    if (!options.eventIndex) return (this.available.u16(0) & NO_INTERRUPT) === 0;
    const event = this.available.u16(ENTRIES + 2 * options.size);
    return ((used - event - 1) & 0xffff) < count;
  }

  get position(): RingPosition {
    return { available: this.last, used: this.used, availableWrap: true, usedWrap: true };
  }

  set position({ available, used }: RingPosition) {
    this.last = available & 0xffff;
    this.used = used & 0xffff;
    this.published = this.used;
    this.wanted = -1;
  }

  private fail(_ok: false): undefined {
    this.broken = true;
    return undefined;
  }

  private askForNotification(): void {
    if (!this.options.eventIndex || this.wanted === this.last) return;
    this.wanted = this.last;
    this.usedArea.setU16(ENTRIES + 8 * this.options.size, this.last);
  }

  /** Follows a chain through a table of `count` descriptors. */
  private collect(chain: Chain, table: RingArea, count: number, head: number, outer: boolean): boolean {
    const { reader } = this;
    let index = head;
    for (let steps = 0; ; steps++) {
      if (steps >= count) return reader.violated('descriptor-loop', `the chain from descriptor ${head} has more than ${count} descriptors`);
      const at = index * DESCRIPTOR_BYTES;
      const flags = table.u16(at + 12);
      if (flags & DescriptorFlag.INDIRECT) {
        if (!outer) return reader.violated('indirect-nested', `descriptor ${index} of an indirect table is indirect`);
        const inner = reader.table(table, at, flags);
        return inner !== undefined && this.collect(chain, inner.area, inner.count, 0, false);
      }
      if (!reader.buffer(chain, table, at, flags)) return false;
      if (!(flags & DescriptorFlag.NEXT)) return true;
      index = table.u16(at + 14);
      if (index >= count) return reader.violated('descriptor-next', `descriptor ${index} of ${count} is next`);
    }
  }
}
