import { VirtioBalloon } from '@nestvm/devices/virtio';
import type { VirtioSpec } from '../options/virtio.js';

/** A balloon; monitors find it among the machine's devices. */
export const createBalloon = (spec: Extract<VirtioSpec, { kind: 'balloon' }>, name: string): VirtioBalloon => {
  const { packed, deflateOnOom, freePageHint, freePageReporting } = spec;
  return new VirtioBalloon({ name, packed, deflateOnOom, freePageHint, freePageReporting });
};
