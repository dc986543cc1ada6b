import { UsageError } from '../../errors.js';
import { ERROR_KEYS, type ErrorPolicy, ownErrorPolicy } from '../block-errors.js';
import { parseBootIndex, parseInteger } from '../text.js';
import { type ChildRow, parentOf } from './children.js';
import type { VirtioRow } from './row.js';

/** A disk or CD drive of a SCSI controller. */
export interface ScsiUnitSpec {
  readonly kind: 'disk' | 'cd';
  readonly id?: string;
  /** Id of its drive; a CD drive may be empty. */
  readonly drive?: string;
  readonly target: number;
  readonly unit: number;
  readonly serial?: string;
  readonly product?: string;
  readonly bootIndex?: number;
  readonly errors?: ErrorPolicy;
}

/** What a SCSI controller is told; the units add themselves. */
export interface ScsiSpec {
  readonly kind: 'scsi';
  readonly queues: number;
  readonly units: ScsiUnitSpec[];
}

/** `virtio-scsi`. */
export const scsiRow: VirtioRow<ScsiSpec> = {
  stem: 'virtio-scsi',
  keys: ['num_queues'],
  help: 'a SCSI controller for scsi-hd and scsi-cd',
  parse: (option, values) => ({ kind: 'scsi', units: [], queues: parseInteger(`${option},num_queues`, values.get('num_queues') ?? '1', 1, 64) }),
};

type Specs = ScsiSpec & { readonly id?: string };
type Parent = { readonly kind: string; readonly id?: string };

const unitRow = (kind: 'disk' | 'cd', help: string): ChildRow<Parent, ScsiSpec> => ({
  properties: ['id', 'bus', 'drive', 'channel', 'scsi-id', 'lun', 'serial', 'product', 'bootindex', ...ERROR_KEYS],
  help,
  attach: (devices, option, values) => {
    const parent = parentOf<Specs, 'scsi'>(devices as readonly Specs[], { kind: 'scsi', controller: 'virtio-scsi-pci' }, option, values.get('bus'));
    const { units } = parent;
    const drive = values.get('drive');
    if (drive === undefined && kind === 'disk')
      throw new UsageError(`${option}: drive= is missing; write -drive file=F,if=none,id=d0 ${option},drive=d0`);
    const id = values.get('id');
    const serial = values.get('serial');
    const product = values.get('product');
    const bootIndex = parseBootIndex(option, values.get('bootindex') ?? '-1');
    parseInteger(`${option},channel`, values.get('channel') ?? '0', 0, 0);
    const unit = parseInteger(`${option},lun`, values.get('lun') ?? '0', 0, 255);
    const wish = values.get('scsi-id');
    const target = wish === undefined ? firstFree(units, unit) : parseInteger(`${option},scsi-id`, wish, 0, 255);
    units.push({
      kind,
      target,
      unit,
      ...(id === undefined ? {} : { id }),
      ...ownErrorPolicy(option, values),
      ...(drive === undefined ? {} : { drive }),
      ...(serial === undefined ? {} : { serial }),
      ...(product === undefined ? {} : { product }),
      ...(bootIndex === undefined ? {} : { bootIndex }),
    });
    return parent;
  },
});

function firstFree(units: readonly ScsiUnitSpec[], unit: number): number {
  let target = 0;
  while (units.some((other) => other.target === target && other.unit === unit)) target++;
  return target;
}

/** What is plugged into a `virtio-scsi`. */
export const scsiRows: Readonly<Record<string, ChildRow<Parent, ScsiSpec>>> = {
  'scsi-hd': unitRow('disk', 'a disk on a -drive, in a virtio-scsi'),
  'scsi-cd': unitRow('cd', 'a CD drive, empty or on a -drive, in a virtio-scsi'),
};
