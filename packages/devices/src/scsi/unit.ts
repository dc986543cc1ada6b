import type { HeldBlocks } from '@nestvm/state';
import type { Sense } from './codes.js';
import type { ScsiAnswer, ScsiCommand } from './command.js';

/** A logical unit: answers commands, whatever brought them. Medium and state are here; the task set is the carrier's. */
export interface ScsiUnit {
  /** Reported once, by the first command that may report it ("SCSI Architecture Model", Unit attention conditions). */
  attention: Sense | undefined;
  /** The tray is open; its owner does not want it opened. Units without a tray have neither. */
  ejected: boolean;
  locked: boolean;
  /** What of its disk is in memory only. */
  readonly held?: HeldBlocks | undefined;
  /** Back to how it was switched on. */
  reset(reason: Sense): void;
  /** Carries a command out. */
  execute(command: ScsiCommand): ScsiAnswer | Promise<ScsiAnswer>;
}

/** Most blocks of one transfer, and of one command that writes zeros or frees blocks. */
export const MOST_BLOCKS = 0x1_0000;
export const MOST_UNMAPPED = 0x40_0000;
