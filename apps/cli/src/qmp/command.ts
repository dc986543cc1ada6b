import type { MonitorTarget } from '../monitor/target.js';
import type { QmpArguments } from './arguments.js';

/** Types of arguments, by QEMU's names. */
export type QmpType = 'str' | 'int' | 'bool' | 'any' | '[any]';

/** Arguments with their types; those with a star may be left out, as in QEMU's schema. */
export type QmpParameters = Readonly<Record<string, QmpType>>;

/** A command: the arguments that it takes, and what it returns (nothing: an empty object). */
export interface QmpCommand {
  readonly arguments?: QmpParameters;
  /** There are more, which it checks by itself. */
  readonly open?: boolean;
  readonly run: (target: MonitorTarget, given: QmpArguments) => unknown;
}
