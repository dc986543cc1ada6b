/**
 * What saving and loading a machine takes: `pnpm exec tsx --conditions=@nestvm/source packages/bench/bench/migration.ts [MIB]`. A Debian guest on the engine of this process,
 * saved to memory and loaded into a second machine, beside writing the same bytes to a file. What a live migration takes is told by the guest run `migrate-under-load`.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { createEventLoopHost, createMachine, type Machine } from '@nestvm/machine';
import { createMemorySink, createMemorySource, loadSnapshot, saveSnapshot } from '@nestvm/migration';
import { BenchError } from '../src/index.js';

const RAM_MIB = Number(process.argv[2] ?? 1024);
const MEBIBYTE = 2 ** 20;
const guests = fileURLToPath(new URL('../../../build/guests/', import.meta.url));
const PROMPT = 'nestvm# ';

const guestFile = (name: string): { name: string; bytes: Uint8Array } => {
  const path = join(guests, name);
  if (!existsSync(path)) throw new BenchError('no-guest', `${path} is not there; run \`pnpm guests\`.`);
  return { name, bytes: readFileSync(path) };
};

function createGuest(onText: (text: string) => void): Machine {
  let text = '';
  return createMachine({
    board: 'pc',
    cpu: 'max',
    memoryBytes: RAM_MIB * MEBIBYTE,
    kernel: guestFile('vmlinuz'),
    modules: [guestFile('initrd.cpio')],
    commandLine: 'console=ttyS0 quiet cryptomgr.notests',
    serial: [
      {
        write: (byte) => {
          text += String.fromCharCode(byte);
          onText(text);
        },
      },
    ],
    clock: { kind: 'virtual', shift: 0, sleep: false },
    host: createEventLoopHost(globalThis),
  });
}

async function timed<T>(work: () => Promise<T>): Promise<readonly [result: T, ms: number]> {
  const start = performance.now();
  const result = await work();
  return [result, performance.now() - start];
}

const rate = (bytes: number, ms: number): string => `${(bytes / MEBIBYTE / (ms / 1000)).toFixed(0)} MiB/s`;

/** Pages that are not zero: the memory in use, as a snapshot sees it. */
function usedBytes(machine: Machine): number {
  let pages = 0;
  for (const { bytes } of machine.migratable.ram()) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    for (let page = 0; page < words.length; page += 1024) if (words.subarray(page, page + 1024).some((word) => word !== 0)) pages++;
  }
  return pages * 4096;
}

async function main(): Promise<void> {
  const machine: Machine = createGuest((text) => {
    if (text.endsWith(PROMPT)) machine.stop();
  });
  const [, bootMs] = await timed(() => machine.run());
  const used = usedBytes(machine);
  console.log(`guest: ${RAM_MIB} MiB, ${(used / MEBIBYTE).toFixed(0)} MiB of it in use, booted in ${(bootMs / 1000).toFixed(1)} s`);
  const folder = mkdtempSync(join(tmpdir(), 'nestvm-bench-'));
  try {
    for (const compression of ['none', 'deflate'] as const) {
      const sink = createMemorySink();
      const [{ bytes }, saveMs] = await timed(() => saveSnapshot(machine.migratable, sink, { compression }));
      const all = sink.bytes();
      const [, copyMs] = await timed(async () => writeFileSync(join(folder, 'copy'), all));
      const target = createGuest(() => {});
      const [, loadMs] = await timed(() => loadSnapshot(target.migratable, () => createMemorySource(all)));
      console.log(
        `${compression}: saved ${rate(used, saveMs)} of memory in use (${saveMs.toFixed(0)} ms), loaded ${rate(used, loadMs)} (${loadMs.toFixed(0)} ms), file ${(bytes / MEBIBYTE).toFixed(1)} MiB = ${((100 * bytes) / used).toFixed(0)} % of it; writing the bytes alone ${rate(bytes, copyMs)}`,
      );
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
