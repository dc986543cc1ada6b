import { UsageError } from '../errors.js';
import { ERROR_KEYS, type ErrorPolicy, ownErrorPolicy } from './block-errors.js';
import { parseBootIndex, parseInteger } from './text.js';

/** An ATA drive of `-device`. */
export interface AtaSpec {
  readonly device: string;
  readonly cd: boolean;
  /** Absent: a CD drive without a medium. */
  readonly drive?: string;
  /** `ide.N` or `ID.N`; absent: the next free place of the board's controller. */
  readonly bus?: string;
  readonly unit?: number;
  readonly id?: string;
  readonly serial?: string;
  readonly model?: string;
  readonly bootIndex?: number;
  readonly errors?: ErrorPolicy;
}

/** Properties of ATA drives. */
export const ATA_KEYS: readonly string[] = ['drive', 'bus', 'unit', 'id', 'serial', 'model', 'bootindex', ...ERROR_KEYS];

/** Parses `-device ide-hd,…` and `ide-cd,…`; throws `UsageError`. */
export function parseAta(device: string, cd: boolean, values: ReadonlyMap<string, string>): AtaSpec {
  const drive = values.get('drive');
  if (drive === undefined && !cd) throw new UsageError(`-device ${device}: drive= is missing; write -device ${device},drive=ID`);
  const unit = values.get('unit');
  const bootIndex = parseBootIndex(`-device ${device}`, values.get('bootindex') ?? '-1');
  const text = (key: 'bus' | 'id' | 'serial' | 'model'): Partial<AtaSpec> => (values.has(key) ? { [key]: values.get(key)! } : {});
  return {
    device,
    cd,
    ...(drive === undefined ? {} : { drive }),
    ...ownErrorPolicy(`-device ${device}`, values),
    ...text('bus'),
    ...text('id'),
    ...text('serial'),
    ...text('model'),
    ...(unit === undefined ? {} : { unit: parseInteger(`-device ${device},unit`, unit, 0, 1) }),
    ...(bootIndex === undefined ? {} : { bootIndex }),
  };
}
