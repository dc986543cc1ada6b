import { DeviceError } from '@nestvm/devices';
import { ScsiCd, ScsiDisk, type ScsiPlace, type ScsiUnit, VirtioScsi } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import type { ScsiUnitSpec } from '../options/virtio/scsi.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';
import { openDrive } from './drives.js';

/** A SCSI controller with its disks and CD drives. */
export function createScsi(spec: Extract<VirtioSpec, { kind: 'scsi' }>, name: string, context: VirtioContext): VirtioScsi {
  const units = spec.units.map((unit): ScsiPlace => ({ ...unit, device: createUnit(unit, context) }));
  try {
    return new VirtioScsi({ name, units, queues: spec.queues, packed: spec.packed });
  } catch (error) {
    if (error instanceof DeviceError) throw new UsageError(error.message);
    throw error;
  }
}

/** A disk or a CD drive, on the drive that it names. */
export function createUnit({ kind, id, drive, target, unit, serial: own, product, errors }: ScsiUnitSpec, context: VirtioContext): ScsiUnit {
  const option = `-device scsi-${kind === 'disk' ? 'hd' : 'cd'}`;
  const opened = drive === undefined ? undefined : openDrive(option, drive, context, { readOnly: kind === 'cd', ...(errors ? { errors } : {}) });
  const serial = own ?? opened?.drive.serial;
  const common = { ...(serial === undefined ? {} : { serial }), ...(product === undefined ? {} : { product }) };
  if (kind === 'disk') return new ScsiDisk({ ...common, disk: opened!.disk, writeCache: opened!.drive.writeCache });
  const { media } = context;
  const name = id ?? drive ?? `scsi-cd${target}-${unit}`;
  const cd = new ScsiCd({ ...common, name, ...(opened ? { medium: opened.disk } : {}), onTray: (open) => media.onTray(name, open) });
  media.addCd(cd.drive, opened?.drive);
  context.onClose(() => media.removeCd(name));
  return cd;
}
