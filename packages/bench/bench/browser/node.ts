/** In a process of Node's: `node.ts KERNEL INITRAMFS BOARD COMMANDLINE`, the report as JSON on standard output. */
import { readFileSync } from 'node:fs';
import { type GuestOrder, runGuest } from './guest.js';

const [kernel, initramfs, board, commandLine] = process.argv.slice(2) as [string, string, GuestOrder['board'], string];
const report = await runGuest({ kernel: readFileSync(kernel), initramfs: readFileSync(initramfs), board, commandLine });
process.stdout.write(JSON.stringify(report));
