import { checkQcow2, createQcow2, MemoryFile, Qcow2Disk, RawDisk } from '@nestvm/disks';

const below = new RawDisk(new MemoryFile(new TextEncoder().encode('the base image, which stays as it is').slice()), true);
const file = new MemoryFile();
createQcow2(file, { sizeBytes: 2 ** 20, backing: { name: 'base.img', format: 'raw' } });

const disk = new Qcow2Disk(file, { backing: below });
disk.write(4096, new TextEncoder().encode('above'.padEnd(512)));
const sector = new Uint8Array(512);
disk.read(0, sector);
disk.close();

console.log(new TextDecoder().decode(sector.subarray(0, 14)), checkQcow2(file).errors.length);
