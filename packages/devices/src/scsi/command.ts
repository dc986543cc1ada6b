import type { Sense } from './codes.js';

/** One command, with the buffers that its initiator gave. */
export interface ScsiCommand {
  /** The command descriptor block, with zeroes behind. */
  readonly cdb: DataView;
  /** Bytes that the initiator sends, and has room for. */
  readonly outBytes: number;
  readonly inBytes: number;
  /** Whether what is shown is the initiator's memory itself, good for as long as the command lasts (default: no). */
  readonly viewable?: boolean;
  /** Copies bytes of the initiator from `offset`; returns how many there were. */
  read(offset: number, target: Uint8Array): number;
  /** Shows bytes of the initiator, or room for its answer, in pieces; returns how many bytes there were. */
  visitOut(offset: number, length: number, visit: (bytes: Uint8Array, done: number) => void): number;
  visitIn(offset: number, length: number, visit: (bytes: Uint8Array, done: number) => void): number;
}

/** How a command ended. */
export type ScsiAnswer =
  /** Done, with so many bytes passed in whichever direction. */
  | { readonly kind: 'good'; readonly bytes: number }
  /** Failed. */
  | { readonly kind: 'failed'; readonly sense: Sense }
  /** The buffers are too small for what the command asks for. */
  | { readonly kind: 'overrun' };

export const failed = (sense: Sense): ScsiAnswer => ({ kind: 'failed', sense });
export const good = (bytes = 0): ScsiAnswer => ({ kind: 'good', bytes });

/** Answers with bytes, cut to the allocation length and to the room there is. */
export function answerWith(command: ScsiCommand, bytes: Uint8Array, allocation: number): ScsiAnswer {
  const length = Math.min(bytes.length, allocation);
  return good(command.visitIn(0, length, (room, done) => room.set(bytes.subarray(done, done + room.length))));
}

/** A 64-bit number of a block; beyond 2^53 it is not exact, but beyond any disk. */
export const readBlockNumber = (view: DataView, offset: number): number => view.getUint32(offset) * 2 ** 32 + view.getUint32(offset + 4);
