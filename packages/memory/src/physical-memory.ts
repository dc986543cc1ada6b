import type { GuestMemory, Width } from '@nestvm/bus';
import { MmioSpace } from '@nestvm/bus';
import type { Arena } from './arena.js';
import { PAGE_BYTES } from './arena.js';
import { DirtyLog } from './dirty-log.js';
import { MemoryError } from './errors.js';
import { GuestMap } from './guest-map.js';
import { PageFlag, WRITE_TRAP } from './page-flag.js';
import type { MemoryRange } from './ranges.js';
import { carve } from './ranges.js';

/** Who caches translations and must hear when they may be wrong. */
export interface MemoryObserver {
  /** The guest-physical map changed: every cached address may be wrong. */
  mapChanged(): void;
  /** Writes to this arena page must be seen from now on (-1: to any page): drop cached write access. */
  writeAccessRevoked(arenaPage: number): void;
}

/** A write to read-only memory: guest-physical address, width in bytes, value. */
export type RomWrite = (address: number, width: Width, value: number) => void;

/** The arena that holds the memory, and the device space behind what is not memory (an empty one unless given). */
export interface PhysicalMemoryOptions {
  readonly arena: Arena;
  readonly mmio?: MmioSpace;
}

const LIMIT = 2 ** 52;

/**
 * The guest-physical address space: RAM and ROM in the arena, devices behind `mmio`, all ones where there is nothing.
 * Addresses are integers below 2^52. Everything but the fast paths of generated code reads and writes guest memory here.
 */
export class PhysicalMemory implements GuestMemory {
  readonly arena: Arena;
  readonly mmio: MmioSpace;
  /** `PageFlag` bits by arena page (arena offset >>> 12). Set them with `setFlag`, so that the TLBs hear of it. */
  readonly pageFlags: Uint8Array;
  /** Arena offset of `pageFlags`, for generated code. */
  readonly pageFlagsOffset: number;
  readonly dirtyLog: DirtyLog;
  /** Called before `length` bytes at an arena offset inside a `CODE` page are written. */
  onCodeWrite: (arenaOffset: number, length: number) => void = () => undefined;
  /** Called before `length` bytes at an arena offset inside a `WATCHED` page are written. */
  onWatchedWrite: (arenaOffset: number, length: number) => void = () => undefined;

  private readonly map = new GuestMap();
  private readonly observers: MemoryObserver[] = [];
  private mapped: MemoryRange[] = [];
  private readonly romWrites = new Map<number, RomWrite>();

  constructor(options: PhysicalMemoryOptions) {
    this.arena = options.arena;
    this.mmio = options.mmio ?? new MmioSpace();
    const pages = Math.ceil(this.arena.bytes / PAGE_BYTES);
    this.pageFlagsOffset = this.arena.allocate('page flags', pages);
    this.pageFlags = this.arena.u8.subarray(this.pageFlagsOffset, this.pageFlagsOffset + pages);
    this.dirtyLog = new DirtyLog(this);
  }

  /** Tells `observer` of every later change. */
  observe(observer: MemoryObserver): void {
    this.observers.push(observer);
  }

  /** Makes `[base, base + size)` RAM at an arena offset, in place of what was there; whole pages, else `MemoryError` (`bad-mapping`). */
  mapRam(base: number, size: number, arenaOffset: number): void {
    this.place({ kind: 'ram', base, size, arenaOffset });
  }

  /** Makes `[base, base + size)` read-only memory, in place of what was there; writes go to `onWrite` or nowhere. */
  mapRom(base: number, size: number, arenaOffset: number, onWrite?: RomWrite): void {
    this.place({ kind: 'rom', base, size, arenaOffset });
    if (onWrite === undefined) return;
    for (let page = base / PAGE_BYTES; page < (base + size) / PAGE_BYTES; page++) this.romWrites.set(page, onWrite);
  }

  /** Leaves `[base, base + size)` to the devices. */
  unmap(base: number, size: number): void {
    this.assertPages(base, size, 0);
    this.withdraw(base, size);
    this.mapChanged();
  }

  /** What is mapped, by rising guest-physical address. */
  ranges(): readonly MemoryRange[] {
    return this.mapped;
  }

  /** Arena offset of a byte of RAM or ROM; -1 for devices and holes. */
  arenaOffsetOf(address: number): number {
    const page = this.map.arenaPage(address < 0x1_0000_0000 ? address >>> 12 : Math.floor(address / PAGE_BYTES));
    return page === 0 ? -1 : page * PAGE_BYTES + (address & 0xfff);
  }

  /** Reads a byte. */
  read8(address: number): number {
    const at = this.arenaOffsetOf(address);
    return at >= 0 ? this.arena.u8[at]! : this.mmio.read(address, 1);
  }

  /** Reads 2 bytes, little-endian, unsigned, at any alignment. */
  read16(address: number): number {
    if ((address & 0xfff) === 0xfff) return this.read8(address) | (this.read8(address + 1) << 8);
    const at = this.arenaOffsetOf(address);
    return at >= 0 ? this.arena.view.getUint16(at, true) : this.mmio.read(address, 2);
  }

  /** Reads 4 bytes, little-endian, unsigned, at any alignment. */
  read32(address: number): number {
    if ((address & 0xfff) > 0xffc) {
      return (this.read8(address) | (this.read8(address + 1) << 8) | (this.read8(address + 2) << 16) | (this.read8(address + 3) << 24)) >>> 0;
    }
    const at = this.arenaOffsetOf(address);
    return at >= 0 ? this.arena.view.getUint32(at, true) : this.mmio.read(address, 4);
  }

  /** Writes a byte. */
  write8(address: number, value: number): void {
    const at = this.arenaOffsetOf(address);
    if (at < 0) this.mmio.write(address, 1, value);
    else if (this.beforeWrite(at, 1)) this.arena.u8[at] = value;
    else this.romWrite(address, 1, value);
  }

  /** Writes 2 bytes, little-endian, at any alignment. */
  write16(address: number, value: number): void {
    if ((address & 0xfff) === 0xfff) {
      this.write8(address, value);
      this.write8(address + 1, value >>> 8);
      return;
    }
    const at = this.arenaOffsetOf(address);
    if (at < 0) this.mmio.write(address, 2, value);
    else if (this.beforeWrite(at, 2)) this.arena.view.setUint16(at, value, true);
    else this.romWrite(address, 2, value);
  }

  /** Writes 4 bytes, little-endian, at any alignment. */
  write32(address: number, value: number): void {
    if ((address & 0xfff) > 0xffc) {
      for (let i = 0; i < 4; i++) this.write8(address + i, value >>> (8 * i));
      return;
    }
    const at = this.arenaOffsetOf(address);
    if (at < 0) this.mmio.write(address, 4, value);
    else if (this.beforeWrite(at, 4)) this.arena.view.setUint32(at, value, true);
    else this.romWrite(address, 4, value);
  }

  /**
   * Replaces the aligned 32-bit word at `address` by `replacement` if it is `expected` (both int32), in one step when the arena is shared.
   * False: it was something else. Read-only memory swallows the store and says true.
   */
  compareExchange32(address: number, expected: number, replacement: number): boolean {
    const at = this.arenaOffsetOf(address);
    if (at < 0) {
      if ((this.mmio.read(address, 4) | 0) !== expected) return false;
      this.mmio.write(address, 4, replacement >>> 0);
      return true;
    }
    const { i32, shared } = this.arena;
    const index = at / 4;
    if (i32[index] !== expected) return false;
    if (!this.beforeWrite(at, 4)) return true;
    if (shared) return Atomics.compareExchange(i32, index, expected, replacement) === expected;
    i32[index] = replacement;
    return true;
  }

  /**
   * Does what a write of `length` bytes at an arena offset (inside one page) owes to `CODE`, `WATCHED` and the dirty log.
   * Call it before every store that does not go through a write TLB. False: the page is ROM, do not store.
   */
  beforeWrite(arenaOffset: number, length: number): boolean {
    const page = (arenaOffset / PAGE_BYTES) >>> 0;
    return (this.pageFlags[page]! & WRITE_TRAP) === 0 || this.trappedWrite(page, arenaOffset, length);
  }

  /**
   * Does what a change of read-only memory owes to `CODE`, `WATCHED` and the dirty log: `length` bytes at an arena offset, inside one page. For devices that
   * program it.
   */
  beforeProgramming(arenaOffset: number, length: number): void {
    const page = (arenaOffset / PAGE_BYTES) >>> 0;
    this.noteWrite(page, this.pageFlags[page]! | PageFlag.DIRTY_LOG, arenaOffset, length);
  }

  /** Fills `target` from guest-physical memory; devices are read byte by byte. */
  read(address: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      const from = address + done;
      const length = Math.min(target.length - done, PAGE_BYTES - (from & 0xfff));
      const at = this.arenaOffsetOf(from);
      if (at >= 0) target.set(this.arena.u8.subarray(at, at + length), done);
      else for (let i = 0; i < length; i++) target[done + i] = this.mmio.read(from + i, 1);
      done += length;
    }
  }

  /** Stores `source` to guest-physical memory. */
  write(address: number, source: Uint8Array): void {
    for (let done = 0; done < source.length; ) {
      const to = address + done;
      const length = Math.min(source.length - done, PAGE_BYTES - (to & 0xfff));
      const at = this.arenaOffsetOf(to);
      if (at >= 0 && this.beforeWrite(at, length)) this.arena.u8.set(length === source.length ? source : source.subarray(done, done + length), at);
      else for (let i = 0; i < length; i++) this.write8(to + i, source[done + i]!);
      done += length;
    }
  }

  /** Asked several times for each request of a device. */
  private ramAround(address: number, length: number): MemoryRange | undefined {
    const { mapped } = this;
    for (let i = 0; i < mapped.length; i++) {
      const range = mapped[i]!;
      if (address >= range.base && address + length <= range.base + range.size && range.kind === 'ram') return range;
    }
    return undefined;
  }

  /** RAM as a view, after what writes owe to `CODE`, `WATCHED` and the dirty log when `writing`; undefined for what is not RAM in one piece. */
  view(address: number, length: number, writing: boolean): Uint8Array | undefined {
    const range = this.ramAround(address, length);
    if (range === undefined) return undefined;
    const from = range.arenaOffset + (address - range.base);
    const end = from + length;
    if (writing) {
      for (let at = from; at < end; ) {
        const next = Math.min(end, (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES);
        this.beforeWrite(at, next - at);
        at = next;
      }
    }
    return this.arena.u8.subarray(from, end);
  }

  /** Makes what of these bytes is RAM zeros; pages that were never written are so already. */
  clear(address: number, length: number): void {
    for (let done = 0; done < length; ) {
      const size = Math.min(length - done, PAGE_BYTES - ((address + done) & 0xfff));
      const at = this.arenaOffsetOf(address + done);
      if (at >= 0 && this.dirtyLog.wasWritten((at / PAGE_BYTES) >>> 0) && this.beforeWrite(at, size)) this.arena.u8.fill(0, at, at + size);
      done += size;
    }
  }

  /** Sets `PageFlag` bits of an arena page; TLBs lose write access when the page becomes one that traps writes. */
  setFlag(arenaPage: number, flags: number): void {
    const before = this.pageFlags[arenaPage]!;
    const after = before | flags;
    this.pageFlags[arenaPage] = after & ~PageFlag.WRITE_CACHED;
    if ((after & WRITE_TRAP) !== 0 && (before & PageFlag.WRITE_CACHED) !== 0) {
      for (const observer of this.observers) observer.writeAccessRevoked(arenaPage);
    } else {
      this.pageFlags[arenaPage] = after;
    }
  }

  /** Clears `PageFlag` bits of an arena page. */
  clearFlag(arenaPage: number, flags: number): void {
    this.pageFlags[arenaPage]! &= ~flags;
  }

  /** Takes write access to every page away from all TLBs. */
  revokeAllWrites(): void {
    for (const observer of this.observers) observer.writeAccessRevoked(-1);
  }

  private trappedWrite(page: number, arenaOffset: number, length: number): boolean {
    const flags = this.pageFlags[page]!;
    if ((flags & PageFlag.ROM) !== 0) return false;
    this.noteWrite(page, flags, arenaOffset, length);
    return true;
  }

  private noteWrite(page: number, flags: number, arenaOffset: number, length: number): void {
    if ((flags & PageFlag.CODE) !== 0) this.onCodeWrite(arenaOffset, length);
    if ((flags & PageFlag.WATCHED) !== 0) this.onWatchedWrite(arenaOffset, length);
    if ((flags & PageFlag.DIRTY_LOG) !== 0) this.dirtyLog.mark(page);
  }

  private romWrite(address: number, width: Width, value: number): void {
    this.romWrites.get(Math.floor(address / PAGE_BYTES))?.(address, width, width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff));
  }

  private place(range: MemoryRange): void {
    const { base, size, arenaOffset } = range;
    this.assertPages(base, size, arenaOffset);
    if (arenaOffset < PAGE_BYTES || arenaOffset + size > this.arena.bytes) {
      throw new MemoryError(
        'bad-mapping',
        `memory: arena range ${arenaOffset}+${size} is not inside the arena of ${this.arena.bytes} bytes; allocate it first`,
      );
    }
    this.withdraw(base, size);
    this.mapped = [...this.mapped, range].sort((a, b) => a.base - b.base);
    this.map.set(base / PAGE_BYTES, size / PAGE_BYTES, arenaOffset / PAGE_BYTES);
    const first = arenaOffset / PAGE_BYTES;
    for (let page = first; page < first + size / PAGE_BYTES; page++) {
      if (range.kind === 'rom') this.pageFlags[page]! |= PageFlag.ROM;
      else this.pageFlags[page]! &= ~PageFlag.ROM;
    }
    this.dirtyLog.adopt(range);
    this.mapChanged();
  }

  private withdraw(base: number, size: number): void {
    const { kept, cut } = carve(this.mapped, base, size);
    this.mapped = kept;
    for (const piece of cut) this.map.set(piece.base / PAGE_BYTES, piece.size / PAGE_BYTES, 0);
    for (const page of this.romWrites.keys()) {
      if (page >= base / PAGE_BYTES && page < (base + size) / PAGE_BYTES) this.romWrites.delete(page);
    }
  }

  private mapChanged(): void {
    for (const observer of this.observers) observer.mapChanged();
  }

  private assertPages(base: number, size: number, arenaOffset: number): void {
    const aligned = [base, size, arenaOffset].every((value) => Number.isSafeInteger(value) && value >= 0 && value % PAGE_BYTES === 0);
    if (aligned && size > 0 && base + size <= LIMIT) return;
    throw new MemoryError(
      'bad-mapping',
      `memory: cannot map ${size} bytes at guest-physical ${base} to arena offset ${arenaOffset}; all three are multiples of ${PAGE_BYTES} below 2^52`,
    );
  }
}
