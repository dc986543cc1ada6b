import type { DiskFile } from './disk.js';
import { DiskError } from './errors.js';

/** Formats that are not read here, by the bytes at a place in their files. */
const FOREIGN: readonly (readonly [name: string, offset: number, bytes: string])[] = [
  ['VMDK', 0, 'KDMV'],
  ['VMDK', 0, 'COWD'],
  ['VMDK', 0, '# Disk DescriptorFile'],
  ['VHDX', 0, 'vhdxfile'],
  ['VHD', 0, 'conectix'],
  ['VDI', 64, '\x7f\x10\xda\xbe'],
  ['QED', 0, 'QED\0'],
  ['Parallels', 0, 'WithoutFreeSpace'],
  ['Parallels', 0, 'WithouFreSpacExt'],
];

/** Throws `DiskError` where a file, whose format nobody has named, is an image of a kind that is not read here: as plain sectors it makes no sense. */
export function refuseForeign(file: DiskFile): void {
  const start = new Uint8Array(96);
  file.read(0, start);
  const text = String.fromCharCode(...start);
  const found = FOREIGN.find(([, offset, bytes]) => text.startsWith(bytes, offset));
  if (found)
    throw new DiskError(
      'unsupported',
      `a ${found[0]} image; there are raw and qcow2: 'qemu-img convert -O qcow2' makes one (format=raw takes it as it is)`,
    );
}
