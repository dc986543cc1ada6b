import type { Exchange } from '../exchange.js';
import type { MessageReader } from '../protocol/reader.js';
import type { MessageWriter } from '../protocol/writer.js';
import type { Session } from './session.js';

/** A request on its way. */
export interface Call {
  readonly session: Session;
  /** Fields behind the header. */
  readonly request: MessageReader;
  readonly reply: MessageWriter;
  /** For data, which is not copied through `request` and `reply`. */
  readonly exchange: Exchange;
  /** Largest answer. */
  readonly mostBytes: number;
}

/** What is done for a type of request. Failures are thrown, and answered. */
export interface HandlerRow {
  readonly name: string;
  /** It changes the tree, so that a read-only one refuses it. */
  readonly changes?: true;
  readonly run: (call: Call) => void;
}
