import type { VirtioRow } from './row.js';

/** What a source of random bytes is told. */
interface EntropySpec {
  readonly kind: 'entropy';
  /** The `-object` that its bytes are to come from; they come from the host in any case. */
  readonly source?: string;
}

/** `virtio-rng`. */
export const entropyRow: VirtioRow<EntropySpec> = {
  stem: 'virtio-rng',
  keys: ['rng', 'max-bytes', 'period'],
  help: 'random bytes',
  parse: (_option, values) => ({ kind: 'entropy', ...(values.has('rng') ? { source: values.get('rng')! } : {}) }),
};
