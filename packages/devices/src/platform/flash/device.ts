import type { Device, Width, Wiring } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import type { SavableDevice } from '../../saved-state.js';
import { flashQuery } from './query.js';
import { FLASH_BLOCK_BYTES, FLASH_BUFFER_BYTES, FLASH_IDENTIFIER, FlashCommand, FlashStatus } from './registers.js';
import { flashSchema, type SavedFlash } from './state.js';

/** What reads see. */
const Mode = { ARRAY: 0, IDENTIFIER: 1, QUERY: 2, STATUS: 3 } as const;
/** What the next write is. */
const Pending = { COMMAND: 0, DATA: 1, ERASE: 2, LOCK: 3, COUNT: 4, BUFFER: 5, CONFIRM: 6 } as const;

/** A flash and what it is kept in. */
export interface FlashOptions {
  readonly name: string;
  /** Guest-physical address. */
  readonly base: number;
  /** What it holds: a whole number of blocks of 4 KiB. */
  readonly memory: Uint8Array;
  /** Programming and erasing fail. */
  readonly readOnly?: boolean;
  /** Whether reads are to see `memory` itself, with every write handed to `write`; else all accesses must come to the device's region. */
  readonly show: (array: boolean) => void;
  /** Called before bytes of `memory`, all in one block, change. */
  readonly beforeStore?: (offset: number, length: number) => void;
  /** Called after bytes of `memory` have changed, to keep them. */
  readonly onStore?: (offset: number, bytes: Uint8Array) => void;
}

/**
 * Parallel flash that is programmed by Intel's command set and describes itself by CFI: what boards keep firmware and its variables in ("Intel StrataFlash
 * Memory (J3)"; QEMU's cfi.pflash01 with one 8-bit chip). Everything takes no time. As in QEMU programming stores what is written: bits may also become 1.
 */
export class Flash implements Device, SavableDevice<SavedFlash> {
  readonly name: string;
  readonly #options: FlashOptions;
  readonly #query: Uint8Array;
  readonly #buffer = new Uint8Array(FLASH_BUFFER_BYTES);
  #mode: number = Mode.ARRAY;
  #pending: number = Pending.COMMAND;
  #status: number = FlashStatus.READY;
  /** Where the write buffer begins, how many of its bytes are there, and how many are to come. */
  #start = 0;
  #filled = 0;
  #left = 0;

  constructor(options: FlashOptions) {
    const { name, memory } = options;
    if (memory.length === 0 || memory.length % FLASH_BLOCK_BYTES !== 0)
      throw new DeviceError('bad-option', `${name}: a flash of ${memory.length} bytes; it has whole blocks of ${FLASH_BLOCK_BYTES} bytes`);
    this.name = name;
    this.#options = options;
    this.#query = flashQuery(memory.length);
  }

  attach(wiring: Wiring): void {
    const { name, base, memory } = this.#options;
    wiring.mmio({
      name,
      base,
      size: memory.length,
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.write(offset, width, value),
    });
    this.#options.show(true);
  }

  reset(): void {
    this.#pending = Pending.COMMAND;
    this.#status = FlashStatus.READY;
    this.#setMode(Mode.ARRAY);
  }

  save(): SavedFlash {
    return {
      mode: this.#mode,
      pending: this.#pending,
      status: this.#status,
      start: this.#start,
      left: this.#left,
      buffer: [...this.#buffer.subarray(0, this.#filled)],
    };
  }

  load(saved: unknown): void {
    const state = flashSchema.check(saved, this.name);
    const size = this.#options.memory.length;
    if (state.start + state.buffer.length > size || state.buffer.length + state.left > FLASH_BUFFER_BYTES || state.pending > Pending.CONFIRM)
      throw new DeviceError('bad-state', `saved state: ${this.name}: the write buffer does not fit; the snapshot is damaged or of another version`);
    this.#pending = state.pending;
    this.#status = state.status;
    this.#start = state.start;
    this.#left = state.left;
    this.#buffer.set(state.buffer);
    this.#filled = state.buffer.length;
    this.#setMode(state.mode);
  }

  /** All of `memory` was replaced from outside: keeps it. */
  replaced(): void {
    const { readOnly, onStore, memory } = this.#options;
    if (!readOnly) onStore?.(0, memory);
  }

  /** One write cycle. */
  write(offset: number, width: Width, value: number): void {
    const byte = value & 0xff;
    switch (this.#pending) {
      case Pending.COMMAND:
        return this.#command(offset, byte);
      case Pending.DATA:
        this.#pending = Pending.COMMAND;
        return this.#store(offset, bytesOf(value, width), FlashStatus.PROGRAM_ERROR);
      case Pending.ERASE:
        return this.#erase(offset, byte);
      case Pending.LOCK:
        // Blocks have no locks: what sets and clears them succeeds.
        this.#pending = Pending.COMMAND;
        return;
      case Pending.COUNT:
        return this.#begin(value);
      case Pending.BUFFER:
        return this.#collect(offset, bytesOf(value, width));
      default:
        return this.#confirm(byte);
    }
  }

  #command(offset: number, command: number): void {
    switch (command) {
      case FlashCommand.PROGRAM:
      case FlashCommand.PROGRAM_WORD:
        return this.#expect(Pending.DATA);
      case FlashCommand.ERASE:
        return this.#expect(Pending.ERASE);
      case FlashCommand.LOCK:
        return this.#expect(Pending.LOCK);
      case FlashCommand.BUFFER:
        this.#start = offset;
        this.#status |= FlashStatus.READY;
        return this.#expect(Pending.COUNT);
      case FlashCommand.STATUS:
        return this.#setMode(Mode.STATUS);
      case FlashCommand.IDENTIFIER:
        return this.#setMode(Mode.IDENTIFIER);
      case FlashCommand.QUERY:
        return this.#setMode(Mode.QUERY);
      case FlashCommand.CLEAR_STATUS:
        // Not ready any more, as drivers that look for QEMU's flash expect.
        this.#status = 0;
        return this.#setMode(Mode.ARRAY);
      default:
        return this.#setMode(Mode.ARRAY);
    }
  }

  #expect(pending: number): void {
    this.#pending = pending;
    this.#setMode(Mode.STATUS);
  }

  #erase(offset: number, confirm: number): void {
    this.#pending = Pending.COMMAND;
    if (confirm !== FlashCommand.CONFIRM) return this.#refuse();
    const block = offset - (offset % FLASH_BLOCK_BYTES);
    this.#store(block, new Uint8Array(FLASH_BLOCK_BYTES).fill(0xff), FlashStatus.ERASE_ERROR);
  }

  /** The number of bytes to come, less one. */
  #begin(value: number): void {
    const count = (value & 0xffff) + 1;
    this.#filled = 0;
    this.#left = count;
    this.#pending = Pending.BUFFER;
    if (count > FLASH_BUFFER_BYTES) this.#refuse();
  }

  #collect(offset: number, bytes: Uint8Array): void {
    if (this.#filled === 0) this.#start = offset;
    const at = offset - this.#start;
    if (at < 0 || at !== this.#filled || bytes.length > this.#left) return this.#refuse();
    this.#buffer.set(bytes, at);
    this.#filled += bytes.length;
    this.#left -= bytes.length;
    if (this.#left === 0) this.#pending = Pending.CONFIRM;
  }

  #confirm(byte: number): void {
    this.#pending = Pending.COMMAND;
    if (byte !== FlashCommand.CONFIRM) return this.#refuse();
    this.#store(this.#start, this.#buffer.slice(0, this.#filled), FlashStatus.PROGRAM_ERROR);
    this.#filled = 0;
  }

  /** A sequence of commands that is none ("Status Register Definitions": both errors together). */
  #refuse(): void {
    this.#pending = Pending.COMMAND;
    this.#filled = this.#left = 0;
    this.#status |= FlashStatus.READY | FlashStatus.ERASE_ERROR | FlashStatus.PROGRAM_ERROR;
  }

  #store(offset: number, bytes: Uint8Array, error: number): void {
    const { memory, readOnly, beforeStore, onStore } = this.#options;
    this.#status |= FlashStatus.READY;
    if (readOnly || offset + bytes.length > memory.length) {
      this.#status |= error;
      return;
    }
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done;
      const length = Math.min(bytes.length - done, FLASH_BLOCK_BYTES - (at % FLASH_BLOCK_BYTES));
      beforeStore?.(at, length);
      memory.set(bytes.subarray(done, done + length), at);
      done += length;
    }
    onStore?.(offset, bytes);
  }

  #setMode(mode: number): void {
    const before = this.#mode === Mode.ARRAY;
    this.#mode = mode;
    if (before !== (mode === Mode.ARRAY)) this.#options.show(mode === Mode.ARRAY);
  }

  #read(offset: number, width: Width): number {
    let value = 0;
    for (let i = 0; i < width; i++) value |= this.#readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  #readByte(offset: number): number {
    switch (this.#mode) {
      case Mode.STATUS:
        return this.#status;
      case Mode.IDENTIFIER:
        return FLASH_IDENTIFIER[offset & 0xff] ?? 0;
      case Mode.QUERY:
        return this.#query[offset & 0xff] ?? 0;
      default:
        return this.#options.memory[offset]!;
    }
  }
}

const bytesOf = (value: number, width: Width): Uint8Array => Uint8Array.from({ length: width }, (_, i) => value >>> (8 * i));
