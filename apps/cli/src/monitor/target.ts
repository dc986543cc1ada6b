import type { Machine } from '@nestvm/machine';
import type { Additions } from '../additions.js';
import type { Media } from '../media.js';
import type { MigrationController } from '../migration/controller.js';
import type { Plugging } from '../plugging.js';

/** What happens to a machine, as QMP's events tell it. */
export type SessionEvent =
  | { readonly event: 'STOP' | 'RESUME' | 'POWERDOWN' }
  /** `guest`: the guest asked for it, not its owner. */
  | { readonly event: 'RESET' | 'SHUTDOWN'; readonly data: { readonly guest: boolean; readonly reason: string } }
  | { readonly event: 'BALLOON_CHANGE'; readonly data: { readonly actual: number } }
  | { readonly event: 'DEVICE_TRAY_MOVED'; readonly data: { readonly device: string; readonly id: string; readonly 'tray-open': boolean } }
  | { readonly event: 'DEVICE_DELETED'; readonly data: { readonly device: string; readonly path: string } }
  | {
      readonly event: 'BLOCK_IO_ERROR';
      readonly data: {
        readonly device: string;
        readonly 'node-name': string;
        readonly operation: 'read' | 'write';
        readonly action: 'report' | 'ignore' | 'stop';
        readonly nospace: boolean;
        readonly reason: string;
      };
    }
  | { readonly event: 'MIGRATION'; readonly data: { readonly status: string } }
  | { readonly event: 'MIGRATION_PASS'; readonly data: { readonly pass: number } };

/** States of a machine under QMP's names. */
export type RunState = 'running' | 'paused' | 'prelaunch' | 'inmigrate' | 'postmigrate' | 'shutdown' | 'io-error';

/** What monitors, QMP included, may do to a session's machine. */
export interface MonitorTarget {
  readonly name: string;
  readonly migration: MigrationController;
  readonly media: Media;
  readonly plugging: Plugging;
  readonly additions: Additions;
  /** Character devices, as QEMU names them. */
  characters(): readonly { readonly label: string; readonly filename: string }[];
  machine(): Machine;
  state(): RunState;
  stop(): void;
  resume(): void;
  reset(): void;
  powerButton(): void;
  quit(): void;
  /** Hears of events until the function that it returns is called. */
  listen(listener: (event: SessionEvent) => void): () => void;
}
