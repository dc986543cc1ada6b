import type { GuestMemory } from '@nestvm/bus';
import type { MemoryRegion } from './dma.js';
import { Master, MasterCommand, MasterStatus, REGION_BYTES, REGION_END } from './ide-registers.js';

const MOST_REGIONS = 0x10000 / REGION_BYTES;
const LARGEST_REGION = 0x10000;

/** A channel's half of the bus-master registers ("Programming Interface for Bus Master IDE Controller"). */
export class BusMaster {
  #command = 0;
  #status = 0;
  #table = 0;
  /** The guest lets it run. */
  onStart: () => void = () => {};

  get running(): boolean {
    return (this.#command & MasterCommand.START) !== 0;
  }

  reset(): void {
    this.#command = this.#status = this.#table = 0;
  }

  read(offset: number): number {
    if (offset === Master.COMMAND) return this.#command;
    if (offset === Master.STATUS) return this.#status;
    return offset >= Master.TABLE ? (this.#table >>> (8 * (offset - Master.TABLE))) & 0xff : 0xff;
  }

  write(offset: number, value: number): void {
    if (offset === Master.COMMAND) {
      const starts = (value & MasterCommand.START) !== 0 && !this.running;
      this.#command = value & (MasterCommand.START | MasterCommand.TO_MEMORY);
      if (!this.running) this.#status &= ~MasterStatus.ACTIVE;
      if (!starts) return;
      this.#status |= MasterStatus.ACTIVE;
      this.onStart();
    } else if (offset === Master.STATUS) {
      const cleared = value & (MasterStatus.ERROR | MasterStatus.INTERRUPT);
      this.#status = (this.#status & ~cleared & ~MasterStatus.CAPABLE) | (value & MasterStatus.CAPABLE);
    } else if (offset >= Master.TABLE) {
      const shift = 8 * (offset - Master.TABLE);
      this.#table = ((this.#table & ~(0xff << shift)) | (value << shift)) & ~3;
    }
  }

  /** The drive has raised its interrupt. */
  noteInterrupt(): void {
    this.#status |= MasterStatus.INTERRUPT;
  }

  /** Nothing more to move. */
  stop(): void {
    this.#status &= ~MasterStatus.ACTIVE;
  }

  /** Memory for a transfer of so many bytes, by the table. */
  regions(memory: GuestMemory, lengthBytes: number): MemoryRegion[] {
    const regions: MemoryRegion[] = [];
    const entry = new Uint8Array(REGION_BYTES);
    const view = new DataView(entry.buffer);
    let held = 0;
    for (let i = 0; i < MOST_REGIONS && held < lengthBytes; i++) {
      memory.read((this.#table >>> 0) + i * REGION_BYTES, entry);
      const flags = view.getUint32(4, true);
      const length = flags & 0xfffe || LARGEST_REGION;
      regions.push({ address: (view.getUint32(0, true) & ~1) >>> 0, length });
      held += length;
      if (flags >= REGION_END) break;
    }
    return regions;
  }

  save(): { command: number; status: number; table: number } {
    return { command: this.#command, status: this.#status, table: this.#table >>> 0 };
  }

  load({ command, status, table }: { command: number; status: number; table: number }): void {
    this.#command = command;
    this.#status = status;
    this.#table = table | 0;
  }
}
