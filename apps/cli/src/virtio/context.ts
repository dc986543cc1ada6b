import type { Characters } from '../characters/parts.js';
import type { Media } from '../media.js';
import type { NetworkParts } from '../networks/parts.js';
import type { RunOptions } from '../options/config.js';

/** What the creators of devices get beside a device's own options. */
export interface VirtioContext {
  readonly options: RunOptions;
  readonly characters: Characters;
  readonly media: Media;
  readonly networks: NetworkParts;
  /** Carried out before the machine is made; rejects with `UsageError`. */
  readonly onOpen: (open: () => Promise<void>) => void;
  /** Carried out at the end, whatever has happened. */
  readonly onClose: (close: () => void) => void;
}
