import { randomFillSync } from 'node:crypto';
import { VirtioEntropy } from '@nestvm/devices/virtio';
import type { RunOptions } from '../options/config.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';

/** A source of random bytes. */
export const createEntropy = ({ packed }: Extract<VirtioSpec, { kind: 'entropy' }>, name: string, { options }: VirtioContext): VirtioEntropy =>
  new VirtioEntropy({ name, packed, fill: sourceOf(options) });

/** Random bytes of the host; of a small generator while runs are to repeat. */
function sourceOf({ clock, seed }: RunOptions): (target: Uint8Array) => void {
  if (clock.kind !== 'virtual' && seed === undefined) return (target) => void randomFillSync(target);
  let state = (seed ?? 1) | 1;
  return (target) => {
    for (let i = 0; i < target.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      target[i] = state >>> 11;
    }
  };
}
