import { VirtioInput } from '@nestvm/devices/virtio';
import type { VirtioSpec } from '../options/virtio.js';

/** A keyboard, a mouse or a tablet. */
export const createInput = ({ input, serial, packed }: Extract<VirtioSpec, { kind: 'input' }>, name: string): VirtioInput =>
  new VirtioInput({ kind: input, name, packed, ...(serial === undefined ? {} : { serial }) });
