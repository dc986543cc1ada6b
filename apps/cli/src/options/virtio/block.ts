import { UsageError } from '../../errors.js';
import { ERROR_KEYS, type ErrorPolicy, ownErrorPolicy } from '../block-errors.js';
import { parseInteger, parseSize, parseSwitch } from '../text.js';
import type { VirtioRow } from './row.js';

/** What a disk is told. */
export interface BlockSpec {
  readonly kind: 'block';
  readonly drive: string;
  readonly serial?: string;
  readonly queues: number;
  readonly queueSize: number;
  readonly writeCache?: boolean;
  readonly errors?: ErrorPolicy;
  /** Bytes of its blocks. */
  readonly logicalBlockBytes?: number;
  readonly physicalBlockBytes?: number;
}

function blockBytes(option: string, values: ReadonlyMap<string, string>): Pick<BlockSpec, 'logicalBlockBytes' | 'physicalBlockBytes'> {
  const size = (key: string): number | undefined => {
    const value = values.get(key);
    return value === undefined ? undefined : parseSize(`${option},${key}`, value, 1);
  };
  const logicalBlockBytes = size('logical_block_size');
  const physicalBlockBytes = size('physical_block_size');
  return { ...(logicalBlockBytes === undefined ? {} : { logicalBlockBytes }), ...(physicalBlockBytes === undefined ? {} : { physicalBlockBytes }) };
}

/** `virtio-blk`. */
export const blockRow: VirtioRow<BlockSpec> = {
  stem: 'virtio-blk',
  keys: [
    'drive',
    'serial',
    'num-queues',
    'queue-size',
    'write-cache',
    'discard',
    'write-zeroes',
    ...ERROR_KEYS,
    'logical_block_size',
    'physical_block_size',
  ],
  help: 'a disk on a -drive',
  parse: (option, values) => {
    const drive = values.get('drive');
    if (drive === undefined) throw new UsageError(`${option}: drive= is missing; write -drive file=F,if=none,id=d0 ${option},drive=d0`);
    const serial = values.get('serial');
    const writeCache = values.get('write-cache');
    return {
      kind: 'block',
      drive,
      queues: parseInteger(`${option},num-queues`, values.get('num-queues') ?? '1', 1, 64),
      queueSize: parseInteger(`${option},queue-size`, values.get('queue-size') ?? '256', 4, 1024),
      ...ownErrorPolicy(option, values),
      ...blockBytes(option, values),
      ...(serial === undefined ? {} : { serial }),
      ...(writeCache === undefined || writeCache === 'auto' ? {} : { writeCache: parseSwitch(`${option},write-cache`, writeCache) }),
    };
  },
};
