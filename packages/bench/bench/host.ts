/** What the host can do, and how long an emulator takes until its guest runs. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { BenchError } from '../src/index.js';
import { EMULATOR_ENVIRONMENT, type Emulator } from './emulator.js';

/** Three shifts and three exclusive ors per turn, each of which waits for the one before. */
function xorshift(turns: number, seed: number): number {
  let x = seed;
  for (let i = 0; i < turns; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
  }
  return x;
}

/**
 * Millions of turns that a xorshift loop makes in a second of CPU time: what this host's clock and its load are worth, so that tables from different days
 * can be compared.
 */
export function calibrate(): number {
  const turns = 20_000_000;
  let bestUs = Infinity;
  let x = 1;
  for (let i = 0; i < 8; i++) {
    const before = process.cpuUsage();
    x = xorshift(turns, x);
    const { user, system } = process.cpuUsage(before);
    bestUs = Math.min(bestUs, user + system);
  }
  if (x === 0) throw new BenchError('checksum', 'the calibration loop came to 0, which xorshift never does');
  return turns / bestUs;
}

/** A multiboot image whose first instructions leave through isa-debug-exit (`mov al, 0x10; out 0xf4, al; hlt`). */
function tinyGuest(): Uint8Array {
  const [base, flags, magic] = [0x100000, 0x10000, 0x1badb002];
  const code = [0xb0, 0x10, 0xe6, 0xf4, 0xf4];
  const words = [magic, flags, -(magic + flags), base, base, base + 32 + code.length, base + 32 + code.length, base + 32];
  const image = new Uint8Array(8192);
  new Int32Array(image.buffer).set(words);
  image.set(code, 32);
  return image;
}

/** CPU time of the children that have ended, to 10 ms: `cutime` and `cstime` of /proc/self/stat. */
function childrenCpuMs(): number {
  try {
    const fields = readFileSync('/proc/self/stat', 'latin1').split(') ')[1]!.split(' ');
    return (Number(fields[13]) + Number(fields[14])) * 10;
  } catch {
    return 0;
  }
}

/** Wall and CPU time in milliseconds from the start of the emulator's process until it has left again after the guest's first instructions: the best of five. */
export function startUp(emulator: Emulator): { wallMs: number; cpuMs: number } | null {
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-bench-'));
  try {
    const kernel = join(folder, 'tiny');
    writeFileSync(kernel, tinyGuest());
    const machine = [
      '-M',
      'pc',
      '-m',
      '128M',
      '-kernel',
      kernel,
      '-display',
      'none',
      '-serial',
      'null',
      '-device',
      'isa-debug-exit,iobase=0xf4,iosize=0x4',
    ];
    let best: { wallMs: number; cpuMs: number } | null = null;
    for (let i = 0; i < 5; i++) {
      const startMs = performance.now();
      const before = childrenCpuMs();
      const options = { stdio: 'ignore', timeout: 30_000, env: EMULATOR_ENVIRONMENT } as const;
      const { status } = spawnSync(emulator.command, [...emulator.arguments, ...machine], options);
      const wallMs = performance.now() - startMs;
      if (status !== 0x21) return null;
      const cpuMs = childrenCpuMs() - before;
      if (best === null || wallMs < best.wallMs) best = { wallMs, cpuMs };
    }
    return best;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
