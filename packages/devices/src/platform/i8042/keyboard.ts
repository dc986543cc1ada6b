import { KeyboardCommand, Ps2Command, Ps2Reply } from './registers.js';
import { scanCodes } from './scan-codes.js';
import type { SavedKeyboard } from './state.js';

/** Bytes a keyboard can hold before it drops keys. */
const QUEUE_BYTES = 64;

/** A PS/2 keyboard with scan-code sets 1 and 2 ("IBM PC/AT Technical Reference", "Keyboard"). */
export class Ps2Keyboard {
  /** Bytes on their way to the controller. */
  queue: number[] = [];
  #set: 1 | 2 = 2;
  #scanning = true;
  #leds = 0;
  #expecting = 0;
  #lastSent = 0;
  readonly #down = new Set<string>();

  /** `changed` is called when bytes have been queued. */
  constructor(readonly changed: () => void) {}

  reset(): void {
    this.queue = [];
    this.#expecting = 0;
    this.#leds = 0;
    this.#defaults();
    this.#scanning = true;
  }

  /** Scroll lock (1), num lock (2) and caps lock (4) lights. */
  get leds(): number {
    return this.#leds;
  }

  /** Presses a key by its `KeyboardEvent.code` name; pressing one that is down repeats it. Returns false for an unknown name. */
  press(key: string): boolean {
    this.#down.add(key);
    return this.#sendKey(key, false);
  }

  /** Releases a key by its `KeyboardEvent.code` name. */
  release(key: string): boolean {
    if (!this.#down.delete(key)) return true;
    return this.#sendKey(key, true);
  }

  /** The next byte for the controller, or -1. */
  take(): number {
    const byte = this.queue.shift();
    if (byte === undefined) return -1;
    this.#lastSent = byte;
    return byte;
  }

  /** A byte from the controller. */
  write(byte: number): void {
    const command = this.#expecting;
    this.#expecting = 0;
    if (command !== 0 && byte < 0xed) this.#argument(command, byte);
    else this.#command(byte);
    this.changed();
  }

  save(): SavedKeyboard {
    return {
      queue: [...this.queue],
      set: this.#set,
      scanning: this.#scanning,
      leds: this.#leds,
      expecting: this.#expecting,
      lastSent: this.#lastSent,
    };
  }

  load(saved: SavedKeyboard): void {
    this.queue = saved.queue;
    this.#set = saved.set as 1 | 2;
    this.#scanning = saved.scanning;
    this.#leds = saved.leds;
    this.#expecting = saved.expecting;
    this.#lastSent = saved.lastSent;
    this.#down.clear();
  }

  #sendKey(key: string, released: boolean): boolean {
    const bytes = scanCodes(key, this.#set, released);
    if (bytes === undefined) return false;
    if (this.#scanning && this.queue.length + bytes.length <= QUEUE_BYTES) {
      this.queue.push(...bytes);
      this.changed();
    }
    return true;
  }

  #reply(...bytes: number[]): void {
    if (this.queue.length < 4 * QUEUE_BYTES) this.queue.push(...bytes);
  }

  #defaults(): void {
    this.#set = 2;
    this.#down.clear();
  }

  #command(byte: number): void {
    switch (byte) {
      case KeyboardCommand.ECHO:
        return this.#reply(Ps2Reply.ECHO);
      case Ps2Command.IDENTIFY:
        return this.#reply(Ps2Reply.ACK, 0xab, 0x83);
      case KeyboardCommand.SET_LEDS:
      case KeyboardCommand.SCAN_CODE_SET:
      case Ps2Command.SET_RATE:
        this.#expecting = byte;
        return this.#reply(Ps2Reply.ACK);
      case Ps2Command.ENABLE:
        this.queue = [];
        this.#scanning = true;
        return this.#reply(Ps2Reply.ACK);
      case Ps2Command.DISABLE:
      case Ps2Command.SET_DEFAULTS:
        this.queue = [];
        this.#defaults();
        this.#scanning = byte === Ps2Command.SET_DEFAULTS;
        return this.#reply(Ps2Reply.ACK);
      case Ps2Command.RESEND:
        return this.#reply(this.#lastSent);
      case Ps2Command.RESET:
        this.reset();
        return this.#reply(Ps2Reply.ACK, Ps2Reply.SELF_TEST_PASSED);
      default:
        return this.#reply(Ps2Reply.RESEND);
    }
  }

  #argument(command: number, byte: number): void {
    if (command === KeyboardCommand.SET_LEDS) this.#leds = byte & 7;
    if (command !== KeyboardCommand.SCAN_CODE_SET) return this.#reply(Ps2Reply.ACK);
    if (byte === 0) return this.#reply(Ps2Reply.ACK, this.#set);
    if (byte > 2) return this.#reply(Ps2Reply.RESEND);
    this.#set = byte as 1 | 2;
    this.#reply(Ps2Reply.ACK);
  }
}
