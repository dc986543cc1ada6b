import { VirtioBlock } from '@nestvm/devices/virtio';
import { openDisk } from '../disk.js';
import { UsageError } from '../errors.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';

/** A disk on the drive that its options name. */
export function createBlock(spec: Extract<VirtioSpec, { kind: 'block' }>, name: string, { options, onClose }: VirtioContext): VirtioBlock {
  const drive = options.drives.find(({ id }) => id === spec.drive);
  if (drive === undefined) throw new UsageError(`-device virtio-blk,drive=${spec.drive}: no such drive; add -drive file=F,if=none,id=${spec.drive}`);
  const serial = spec.serial ?? drive.serial;
  const disk = openDisk(drive);
  onClose(() => disk.close());
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
