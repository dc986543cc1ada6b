import type { GuestMemory } from '@nestvm/bus';
import type { ClauseName } from '../clauses.js';
import { DESCRIPTOR_BYTES, DescriptorFlag } from '../registers.js';
import { RingArea } from './area.js';
import type { Chain } from './chain.js';

/** Where a queue lies, and what was negotiated about it. */
export interface RingOptions {
  readonly memory: GuestMemory;
  readonly size: number;
  /** Descriptor, driver (available) and device (used) area. */
  readonly descriptors: number;
  readonly driver: number;
  readonly device: number;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  /** Told of a broken clause; the ring yields nothing more then. */
  readonly violated: (clause: ClauseName, detail: string) => void;
}

/** Indices of a ring, as they are saved. */
export interface RingPosition {
  readonly available: number;
  readonly used: number;
  readonly availableWrap: boolean;
  readonly usedWrap: boolean;
}

/** A virtqueue format, seen by the device. */
export interface Ring {
  /** The next available buffer, or undefined when there is none: then the driver is asked for a notification. */
  pop(): Chain | undefined;
  /** Whether there is an available buffer, without taking it. */
  readonly waiting: boolean;
  /** Gives a buffer back with `written` bytes. */
  push(chain: Chain, written: number): void;
  /** Shows the driver what was pushed since the last call: how many places of the ring that are. */
  publish(): number;
  /** Whether the driver wants an interrupt for the last `count` (at least 1) places that were published. */
  wants(count: number): boolean;
  /** Takes back what was popped and not pushed: a new device after a snapshot goes on from the indices. */
  position: RingPosition;
}

/** Most buffers in an indirect table, for drivers that make it longer than the queue. */
const LONGEST_TABLE = 1024;

/** Reads descriptors of either format into a chain, checking them. */
export class DescriptorReader {
  constructor(private readonly options: RingOptions) {}

  /** Says that a clause is broken; false for the caller to return. */
  violated(clause: ClauseName, detail: string): false {
    this.options.violated(clause, detail);
    return false;
  }

  /** Adds the buffer of a descriptor. */
  buffer(chain: Chain, area: RingArea, at: number, flags: number): boolean {
    const address = area.address64(at);
    const length = area.u32(at + 8);
    if (chain.bytes + length >= 2 ** 32) return this.violated('descriptor-length', `descriptor at ${hex(area.address + at)} ends beyond 2^32 bytes`);
    if (!this.inMemory(address, length))
      return this.violated('descriptor-address', `descriptor at ${hex(area.address + at)} has ${length} bytes at ${hex(address)}`);
    if (!chain.add(address, length, (flags & DescriptorFlag.WRITE) !== 0))
      return this.violated('descriptor-order', `descriptor at ${hex(area.address + at)} is readable after a writable one`);
    return true;
  }

  /** The table of an indirect descriptor, or undefined when it is wrong. */
  table(area: RingArea, at: number, flags: number): { readonly area: RingArea; readonly count: number } | undefined {
    const { indirect, memory, size } = this.options;
    const where = `descriptor at ${hex(area.address + at)}`;
    const address = area.address64(at);
    const length = area.u32(at + 8);
    let clause: ClauseName | undefined;
    if (!indirect) clause = 'indirect-feature';
    else if (flags & DescriptorFlag.NEXT) clause = 'indirect-next';
    else if (length === 0 || length % DESCRIPTOR_BYTES !== 0) clause = 'indirect-length';
    else if (length / DESCRIPTOR_BYTES > Math.max(size, LONGEST_TABLE)) clause = 'descriptor-loop';
    const table = clause === undefined ? new RingArea(memory, address, length) : undefined;
    if (table?.valid) return { area: table, count: length / DESCRIPTOR_BYTES };
    this.violated(clause ?? 'indirect-address', `${where} has an indirect table of ${length} bytes at ${hex(address)}`);
    return undefined;
  }

  private inMemory(address: number, length: number): boolean {
    if (address + length > 2 ** 52) return false;
    const { memory } = this.options;
    return memory.view === undefined || length === 0 || memory.view(address, length, false) !== undefined;
  }
}

/** An address for a message. */
const hex = (address: number): string => (address === Infinity ? 'beyond 2^52' : `0x${address.toString(16)}`);
