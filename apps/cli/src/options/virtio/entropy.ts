import type { VirtioRow } from './row.js';

/** `virtio-rng`, which has nothing to be told. */
export const entropyRow: VirtioRow<{ readonly kind: 'entropy' }> = {
  stem: 'virtio-rng',
  keys: ['rng', 'max-bytes', 'period'],
  help: 'random bytes',
  parse: () => ({ kind: 'entropy' }),
};
