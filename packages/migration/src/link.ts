import type { SavedValue } from '@nestvm/state';
import type { ByteSink, ByteSource } from './channel.js';
import { ContainerReader, ContainerWriter } from './container.js';
import { MigrationError } from './errors.js';
import { decodeValue } from './value-codec.js';

/** Both directions of a connection: a TCP or Unix socket, a WebSocket, a MessagePort. A line on which nothing moves any more must fail by itself. */
export interface Link {
  readonly sink: ByteSink;
  readonly source: ByteSource;
  /** Ends the connection; both sides' reads and writes fail or end. */
  close(): void;
}

/**
 * Tells whether the process on the other side still lives, which settles who has the machine when the line breaks in the middle of the hand-over. Only who can
 * be certain answers `dead`.
 */
export interface Witness {
  /** What the other side is to know of this process. */
  readonly me: string;
  judge(other: string): Promise<'alive' | 'dead' | 'unknown'>;
}

/** A witness that never knows. */
export const noWitness: Witness = { me: '', judge: () => Promise.resolve('unknown') };

/**
 * What the two sides say beside the machine itself. Each begins with `hello`, which carries its witness's words. The order at the end is the hand-over: the target says `ready` when it has all and has checked it; the
 * source answers `go` (and whether the machine stood still before it moved) and never runs again on its own; the target says `running` and runs; the source says `done`, and nobody needs to ask any more.
 * On another line after a broken one the source's `hello` says `again` and which migration it asks about; the target answers `ready` or `running`.
 */
export type Control =
  | { readonly say: 'hello'; readonly who: string; readonly session?: string; readonly again?: boolean }
  | { readonly say: 'ready' }
  | { readonly say: 'go'; readonly stopped?: boolean }
  | { readonly say: 'running' }
  | { readonly say: 'done' }
  | { readonly say: 'refused'; readonly why: string }
  | { readonly say: 'cancelled' };

const WORDS: readonly string[] = ['hello', 'ready', 'go', 'running', 'done', 'refused', 'cancelled'] satisfies Control['say'][];
const LONGEST_TEXT = 2000;

/** Says something to the other side. */
export function sayTo(out: ContainerWriter, control: Control): Promise<void> {
  return out.value('CTRL', { ...control } as SavedValue);
}

/** Reads what a `CTRL` section says. */
export function decodeControl(payload: Uint8Array, offset: number): Control {
  const value = decodeValue(payload, 'a message', offset) as Readonly<
    Partial<Record<'say' | 'why' | 'who' | 'session' | 'again' | 'stopped', SavedValue>>
  > | null;
  const text = (given: SavedValue | undefined, otherwise: string): string => (typeof given === 'string' ? given.slice(0, LONGEST_TEXT) : otherwise);
  const say = value?.say;
  if (typeof say !== 'string' || !WORDS.includes(say))
    throw new MigrationError('corrupt', `the other side said something unknown at byte ${offset}`, { offset });
  if (say === 'refused') return { say, why: text(value?.why, 'no reason given') };
  if (say === 'hello') return { say, who: text(value?.who, ''), session: text(value?.session, ''), again: value?.again === true };
  if (say === 'go') return { say, stopped: value?.stopped === true };
  return { say: say as 'ready' };
}

/** The other side's messages alone, on the way back. */
export class ControlReader {
  private readonly input: ContainerReader;
  private begun = false;

  constructor(source: ByteSource) {
    this.input = new ContainerReader(source);
  }

  /** The next message; throws `link` when the other side has gone. */
  async next(): Promise<Control> {
    try {
      if (!this.begun) await this.input.begin();
      this.begun = true;
      const { kind, payload, offset } = await this.input.next();
      if (kind !== 'CTRL') throw new MigrationError('corrupt', `the other side sent ${kind.trim()} where a message belongs`, { offset });
      return decodeControl(payload, offset);
    } catch (error) {
      if (error instanceof MigrationError && error.code !== 'truncated') throw error;
      throw new MigrationError('link', `the other side has gone (${error instanceof Error ? error.message : String(error)})`);
    }
  }
}

/** Gives up waiting when `signal` does. */
export function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined, what: string): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new MigrationError('cancelled', `${what} was cancelled`));
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
