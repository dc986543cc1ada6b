/** Access width in bytes of one bus transaction. */
export type Width = 1 | 2 | 4;

/**
 * A claimed range of port or MMIO space. The bus hands it offsets from `base`; 8-byte accesses arrive as two of 4, low half first,
 * and anything wider or misaligned is split the same way. Values are unsigned; bits above the width are zero.
 */
export interface Region {
  /** Name of the owner, for messages and `info mtree`. */
  readonly name: string;
  /** First address: a port number, or a guest-physical address (an integer below 2^52). */
  readonly base: number;
  /** Size in bytes. */
  readonly size: number;
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
}

/** What the bus returns for a claimed region: it can be moved or withdrawn (PCI BARs). */
export interface RegionHandle {
  /** Claims `base` instead; throws `BusError` (`overlap`) and stays where it was if that is taken. */
  move(base: number): void;
  remove(): void;
}

/** An interrupt line: level semantics; an edge is `set(1)` then `set(0)`. */
export interface Line {
  set(level: 0 | 1): void;
}

/** A message-signalled interrupt: one 4-byte write of `data` to `address`. */
export interface Msi {
  send(address: number, data: number): void;
}

/** A timer on a clock: at most one deadline at a time. */
export interface Timer {
  /** Calls back when the clock reaches `deadlineNs` (an integer); replaces an earlier deadline; a deadline in the past fires at the next turn. */
  arm(deadlineNs: number): void;
  cancel(): void;
  /** Deadline in ns, or Infinity when idle. */
  readonly deadlineNs: number;
}

/** Guest time in integer nanoseconds since power-on (exact up to 2^53). */
export interface Clock {
  nowNs(): number;
  createTimer(name: string, callback: () => void): Timer;
}

/** DMA: guest-physical memory as a device sees it. Addresses are integers below 2^52; holes read as all ones and swallow writes. */
export interface GuestMemory {
  read(address: number, target: Uint8Array): void;
  write(address: number, source: Uint8Array): void;
  /**
   * The bytes themselves, to be read, or with `writing` to be written at once; undefined unless all of them are RAM in one piece.
   * A memory without it is read and written by copies, holes included.
   */
  view?(address: number, length: number, writing: boolean): Uint8Array | undefined;
  /** Makes what of these bytes is RAM zeros; what is known to be zeros is not touched, so that the host needs no memory for it. Without it zeros are written. */
  clear?(address: number, length: number): void;
}

/** What a device is given when it is plugged in. */
export interface Wiring {
  pio(region: Region): RegionHandle;
  mmio(region: Region): RegionHandle;
  /** The input of the interrupt controllers that has this name: `isa:4`, `gsi:10`, `a20`, `reset`, `nmi`, `smi` … */
  line(name: string): Line;
  msi(): Msi;
  readonly clock: Clock;
  readonly dma: GuestMemory;
}

/** A device: attached once, reset any number of times. */
export interface Device {
  readonly name: string;
  attach(wiring: Wiring): void;
  reset(): void;
}
