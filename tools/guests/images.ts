/** Makes and checks disk images for `crashes.mjs`: `images.ts create raw|qcow2 FILE MEBIBYTES`, `images.ts check FILE`. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { checkQcow2, createQcow2, MemoryFile } from '../../packages/disks/src/index.js';

const [command, ...args] = process.argv.slice(2);
if (command === 'create') {
  const [format, path, mebibytes] = args;
  const sizeBytes = Number(mebibytes) * 2 ** 20;
  const file = new MemoryFile();
  if (format === 'qcow2') createQcow2(file, { sizeBytes });
  writeFileSync(path!, file.bytes());
  if (format === 'raw') truncateSync(path!, sizeBytes);
} else {
  const report = checkQcow2(new MemoryFile(readFileSync(args[0]!)));
  console.log(JSON.stringify(report));
}
