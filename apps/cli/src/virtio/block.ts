import { VirtioBlock } from '@nestvm/devices/virtio';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';
import { openDrive } from './drives.js';

/** A disk on the drive that its options name. */
export function createBlock(spec: Extract<VirtioSpec, { kind: 'block' }>, name: string, context: VirtioContext): VirtioBlock {
  const { drive, disk } = openDrive('-device virtio-blk', spec.drive, context, spec);
  const serial = spec.serial ?? drive.serial;
  return new VirtioBlock({
    name,
    disk,
    packed: spec.packed,
    queues: spec.queues,
    queueSize: spec.queueSize,
    writeCache: spec.writeCache ?? drive.writeCache,
    ...(serial === undefined ? {} : { serial }),
  });
}
