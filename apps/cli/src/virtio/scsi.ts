import { DeviceError } from '@nestvm/devices';
import { type ScsiPlace, ScsiUnit, VirtioScsi } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';
import { openDrive } from './drives.js';

/** A SCSI controller with its disks and CD drives. */
export function createScsi(spec: Extract<VirtioSpec, { kind: 'scsi' }>, name: string, context: VirtioContext): VirtioScsi {
  const units = spec.units.map(({ kind, drive, target, unit, serial: own, product, errors }): ScsiPlace => {
    const option = `-device scsi-${kind === 'disk' ? 'hd' : 'cd'}`;
    const opened = drive === undefined ? undefined : openDrive(option, drive, context, { readOnly: kind === 'cd', ...(errors ? { errors } : {}) });
    const serial = own ?? opened?.drive.serial;
    const device = new ScsiUnit({
      kind,
      ...(opened ? { disk: opened.disk, writeCache: opened.drive.writeCache } : {}),
      ...(serial === undefined ? {} : { serial }),
      ...(product === undefined ? {} : { product }),
    });
    return { target, unit, device };
  });
  try {
    return new VirtioScsi({ name, units, queues: spec.queues, packed: spec.packed });
  } catch (error) {
    if (error instanceof DeviceError) throw new UsageError(error.message);
    throw error;
  }
}
