import { DeviceError } from '../../errors.js';
import { SECTOR_BYTES } from './registers.js';

const MOST_BYTES = 2 ** 21;

/** Bytes of a disk's blocks: all requests are in whole logical ones, and those in whole physical ones go best. */
export interface BlockSizes {
  readonly logicalBytes: number;
  readonly physicalBytes: number;
}

/** Sizes of blocks, sectors unless given; throws `DeviceError` (`bad-option`) for those that no disk has. */
export function blockSizes(name: string, logicalBytes = SECTOR_BYTES, physicalBytes = SECTOR_BYTES): BlockSizes {
  for (const bytes of [logicalBytes, physicalBytes])
    if (!(bytes >= SECTOR_BYTES && bytes <= MOST_BYTES) || !Number.isInteger(Math.log2(bytes)))
      throw new DeviceError('bad-option', `${name}: blocks of ${bytes} bytes cannot be; use a power of two from ${SECTOR_BYTES} to ${MOST_BYTES}`);
  if (logicalBytes > physicalBytes)
    throw new DeviceError(
      'bad-option',
      `${name}: logical blocks of ${logicalBytes} bytes in physical ones of ${physicalBytes}; make the physical ones as large`,
    );
  return { logicalBytes, physicalBytes };
}
