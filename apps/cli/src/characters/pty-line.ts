import { spawnSync } from 'node:child_process';
import { closeSync, readSync, writeSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { CharacterLine } from './line.js';
import { openPair } from './pty-library.js';

/** Bytes on their way to a program that does not read, and to a guest that does not; what comes beyond waits at the other side. */
const OUTPUT_BYTES = 0x4_0000;
const INPUT_BYTES = 0x1_0000;
/** How soon, in ms, a terminal is looked at again: while bytes come and go, while nothing happens, and while nobody has opened it. */
const BUSY_MS = 1;
const IDLE_MS = 15;
const ABSENT_MS = 100;

/**
 * A character device on a pseudo-terminal of its own, which programs open and leave as often as they like; without one, what is written is gone.
 * A timer looks at it: that a program has left is an error of reading, which would be the end of a stream of Node's and of the terminal with it.
 */
export class PtyLine implements CharacterLine {
  onInput: ((bytes: Uint8Array) => number) | undefined;
  onRoom: (() => void) | undefined;
  /** A program has opened the terminal, or the last one has left it. */
  onPresence: ((present: boolean) => void) | undefined;
  /** Where the terminal is, for programs. */
  readonly path: string;
  private readonly master: number;
  private present = false;
  private timer: NodeJS.Timeout | undefined;
  private readonly input = new Queue();
  private readonly output = new Queue();
  private full = false;

  /** Throws `UsageError`. */
  constructor(option: string) {
    const { master, slave, pty } = openPair(option);
    this.master = master;
    this.path = pty;
    const { status } = spawnSync('stty', ['raw', '-echo', '-iexten'], { stdio: [slave, 'ignore', 'ignore'] });
    closeSync(slave);
    if (status !== 0) throw new UsageError(`${option} pty: stty cannot make ${pty} raw; is stty on PATH?`);
    this.look();
  }

  write(bytes: Uint8Array): boolean {
    if (!this.present) return true;
    this.full = this.output.length > OUTPUT_BYTES;
    if (this.output.length > 4 * OUTPUT_BYTES) return false;
    this.output.push(Uint8Array.from(bytes));
    this.send();
    return !this.full;
  }

  close(): void {
    clearTimeout(this.timer);
    this.send();
    closeSync(this.master);
  }

  /** Moves what can be moved in both directions, and comes again. */
  private look(): void {
    const moved = this.receive() + this.deliver() + this.send();
    if (this.full && this.output.length < OUTPUT_BYTES) {
      this.full = false;
      this.onRoom?.();
    }
    this.timer = setTimeout(() => this.look(), moved > 0 ? BUSY_MS : this.present ? IDLE_MS : ABSENT_MS);
    // The machine is what keeps the process alive.
    this.timer.unref();
  }

  /** Takes what programs have written; returns how many bytes came. */
  private receive(): number {
    let came = 0;
    while (this.input.length < INPUT_BYTES) {
      const buffer = Buffer.alloc(4096);
      const count = attempt(() => readSync(this.master, buffer));
      // Linux says EIO of a terminal that nobody has open, others say that it has ended.
      this.notice(count !== undefined && count !== 0);
      if (!count || count < 0) break;
      this.input.push(buffer.subarray(0, count));
      came += count;
    }
    return came;
  }

  /** Gives the guest what it takes; returns how many bytes it took. */
  private deliver(): number {
    return this.input.drain((bytes) => this.onInput?.(bytes) ?? bytes.length);
  }

  /** Gives programs what the guest has written; returns how many bytes went. */
  private send(): number {
    return this.output.drain((bytes) => Math.max(attempt(() => writeSync(this.master, bytes)) ?? bytes.length, 0));
  }

  private notice(present: boolean): void {
    if (present === this.present) return;
    this.present = present;
    if (!present) this.output.clear();
    this.onPresence?.(present);
  }
}

/** The result of reading or writing, -1 where it has to wait, undefined where nobody is at the other end. */
function attempt(transfer: () => number): number | undefined {
  try {
    return transfer();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? -1 : undefined;
  }
}

/** Bytes that wait in their order. */
class Queue {
  length = 0;
  private parts: Uint8Array[] = [];

  push(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  clear(): void {
    this.parts = [];
    this.length = 0;
  }

  /** Offers the bytes until some are not taken; returns how many were. */
  drain(take: (bytes: Uint8Array) => number): number {
    let taken = 0;
    while (this.parts.length > 0) {
      const first = this.parts[0]!;
      const count = take(first);
      taken += count;
      if (count < first.length) {
        this.parts[0] = first.subarray(count);
        break;
      }
      this.parts.shift();
    }
    this.length -= taken;
    return taken;
  }
}
