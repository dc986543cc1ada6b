import { UsageError } from '../errors.js';
import type { DeviceSpecs } from './devices.js';
import type { RawOptions } from './parse.js';
import { parseProperties } from './text.js';

/** A drive that a device names, and the option of the device. */
type Named = readonly [option: string, drive: string | undefined];
function namedDrives({ virtio, ata }: DeviceSpecs): Named[] {
  return [
    ...virtio.flatMap((spec): Named[] => {
      if (spec.kind === 'block') return [['-device virtio-blk', spec.drive]];
      return spec.kind === 'scsi' ? spec.units.map(({ kind, drive }) => [`-device scsi-${kind === 'disk' ? 'hd' : 'cd'}`, drive] as const) : [];
    }),
    ...ata.map(({ device, drive }) => [`-device ${device}`, drive] as const),
  ];
}

/** Boot indices that devices have. */
const bootIndices = ({ virtio, ata }: DeviceSpecs): number[] =>
  [...virtio.flatMap((spec) => [spec, ...(spec.kind === 'scsi' ? spec.units : [])]), ...ata].flatMap(({ bootIndex }) => bootIndex ?? []);

/** Throws `UsageError` where two devices want the same drive or the same turn, or one names an object that there is not. */
export function assertAgreement(devices: DeviceSpecs, raw: RawOptions): void {
  const taken = new Set<string>();
  for (const [option, drive] of namedDrives(devices)) {
    if (drive === undefined) continue;
    if (taken.has(drive)) throw new UsageError(`${option},drive=${drive}: another device has this drive; give each a -drive of its own`);
    taken.add(drive);
  }
  const indices = bootIndices(devices);
  const twice = indices.find((index, i) => indices.indexOf(index) !== i);
  if (twice !== undefined) throw new UsageError(`-device …,bootindex=${twice}: two devices have this boot index; give each one of its own`);
  const sources = (raw.get('object') ?? []).map((text) => parseProperties(text)).filter(({ head }) => head.startsWith('rng-'));
  for (const spec of devices.virtio) {
    if (spec.kind === 'entropy' && spec.source !== undefined && !sources.some(({ values }) => values.get('id') === spec.source))
      throw new UsageError(
        `-device virtio-rng,rng=${spec.source}: no -object has this id; add -object rng-builtin,id=${spec.source}, or leave rng= out`,
      );
  }
}
