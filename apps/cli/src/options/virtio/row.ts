import type { CharacterSpec } from '../character.js';
import type { Values } from './transport.js';

/** A type of virtio device: what may be said of it, and how that is parsed. */
export interface VirtioRow<Spec extends { readonly kind: string }> {
  /** Name of the device without the transport, as `virtio-blk`; it stands for the one on PCI too. */
  readonly stem: string;
  /** Properties beside those of the transport. */
  readonly keys: readonly string[];
  /** What it is, for `-device help`. */
  readonly help: string;
  /** There is no legacy interface, and so no `-transitional` name. */
  readonly modern?: boolean;
  /** `option` is how the user wrote it, as `-device virtio-blk-pci`; throws `UsageError`. */
  readonly parse: (option: string, values: Values, characters: ReadonlyMap<string, CharacterSpec>) => Spec;
}
