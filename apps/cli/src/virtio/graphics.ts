import { VirtioGraphics } from '@nestvm/devices/virtio';
import type { VirtioSpec } from '../options/virtio.js';

/** A graphics card. */
export const createGraphics = ({ width, height, packed }: Extract<VirtioSpec, { kind: 'graphics' }>, name: string): VirtioGraphics =>
  new VirtioGraphics({ name, packed, width, height });
