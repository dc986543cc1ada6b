/** In a process of Node's: `node.ts KERNEL INITRAMFS BOARD COMMANDLINE on|off`, the report as JSON on standard output. */
import { readFileSync } from 'node:fs';
import { type GuestOrder, runGuest } from './guest.js';

const [kernel, initramfs, board, commandLine, jit] = process.argv.slice(2) as [string, string, GuestOrder['board'], string, string];
const report = await runGuest({ kernel: readFileSync(kernel), initramfs: readFileSync(initramfs), board, commandLine, jit: jit === 'on' });
process.stdout.write(JSON.stringify(report));
