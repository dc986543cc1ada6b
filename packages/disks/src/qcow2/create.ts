import type { DiskFile } from '../disk.js';
import { DiskError } from '../errors.js';
import { QCOW_MAGIC } from './header.js';

/** What a new qcow2 image is like. */
export interface CreateQcow2Options {
  readonly sizeBytes: number;
  /** log2 of the cluster size, 9 to 21 (default 16). */
  readonly clusterBits?: number;
  /** 2 or 3 (default 3). */
  readonly version?: 2 | 3;
  readonly backing?: { readonly name: string; readonly format: 'raw' | 'qcow2' };
}

/** Writes an empty qcow2 image into an empty file: header, refcount table, one refcount block, L1 table. Throws `DiskError` (`bad-option`). */
export function createQcow2(file: DiskFile, options: CreateQcow2Options): void {
  const { sizeBytes, clusterBits = 16, version = 3, backing } = options;
  const clusterBytes = 2 ** clusterBits;
  const l1Entries = Math.max(1, Math.ceil(sizeBytes / (clusterBytes * (clusterBytes / 8))));
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterBytes);
  const name = new TextEncoder().encode(backing?.name ?? '');
  const fits = clusterBits >= 9 && clusterBits <= 21 && l1Clusters + 3 <= clusterBytes / 2 && l1Entries * 8 <= 32 * 2 ** 20;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes % 512 || !fits || name.length > Math.min(1023, clusterBytes - 200)) {
    throw new DiskError(
      'bad-option',
      `qcow2: no image of ${sizeBytes} bytes with clusters of 2^${clusterBits} bytes; choose whole sectors and larger clusters`,
    );
  }
  const bytes = new Uint8Array((3 + l1Clusters) * clusterBytes);
  const view = new DataView(bytes.buffer);
  for (const [at, value] of [
    [0, QCOW_MAGIC],
    [4, version],
    [20, clusterBits],
    [24, Math.floor(sizeBytes / 2 ** 32)],
    [28, sizeBytes % 2 ** 32],
    [36, l1Entries],
    [44, 3 * clusterBytes],
    [52, clusterBytes],
    [56, 1],
  ] as const) {
    view.setUint32(at, value);
  }
  let end = 72;
  if (version === 3) {
    view.setUint32(96, 4);
    view.setUint32(100, 104);
    end = 104;
  }
  if (backing) {
    const format = new TextEncoder().encode(backing.format);
    view.setUint32(end, 0xe2792aca);
    view.setUint32(end + 4, format.length);
    bytes.set(format, end + 8);
    end += 8 + Math.ceil(format.length / 8) * 8 + 8;
    view.setUint32(12, end);
    view.setUint32(16, name.length);
    bytes.set(name, end);
  }
  view.setUint32(clusterBytes + 4, 2 * clusterBytes);
  for (let cluster = 0; cluster < 3 + l1Clusters; cluster++) view.setUint16(2 * clusterBytes + cluster * 2, 1);
  file.truncate(0);
  file.write(0, bytes);
  file.flush();
}
