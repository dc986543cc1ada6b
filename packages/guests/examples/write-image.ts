// Writes a guest to a file, to run it elsewhere: tsx write-image.ts kernel out.img; qemu-system-x86_64 -kernel out.img -nographic
import { writeFileSync } from 'node:fs';
import { guestNames, guests } from '@nestvm/guests';

const [wanted = 'kernel', file] = process.argv.slice(2);
const name = guestNames.find((candidate) => candidate === wanted) ?? 'kernel';
const image = guests[name]();
if (file !== undefined) writeFileSync(file, image.bytes);
console.log(`${image.name}: ${image.bytes.length} bytes, entry 0x${image.labels.get('entry32')?.toString(16)}`);
