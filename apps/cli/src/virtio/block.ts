import { DeviceError } from '@nestvm/devices';
import { VirtioBlock } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';
import { openDrive } from './drives.js';

/** A disk on the drive that its options name; throws `UsageError`. */
export function createBlock(spec: Extract<VirtioSpec, { kind: 'block' }>, name: string, context: VirtioContext): VirtioBlock {
  const { drive, disk } = openDrive('-device virtio-blk', spec.drive, context, spec);
  const serial = spec.serial ?? drive.serial;
  const { logicalBlockBytes, physicalBlockBytes } = spec;
  try {
    return new VirtioBlock({
      name,
      disk,
      packed: spec.packed,
      queues: spec.queues,
      queueSize: spec.queueSize,
      writeCache: spec.writeCache ?? drive.writeCache,
      ...(serial === undefined ? {} : { serial }),
      ...(logicalBlockBytes === undefined ? {} : { logicalBlockBytes }),
      ...(physicalBlockBytes === undefined ? {} : { physicalBlockBytes }),
    });
  } catch (error) {
    if (error instanceof DeviceError) throw new UsageError(`-device virtio-blk: ${error.message}`);
    throw error;
  }
}
