/**
 * The loops of the guest's benchmarks on a machine without a kernel: `tsx packages/jit/bench/hot-loops.bench.ts [--dump DIR] [NAME…]`. For each test the
 * millions of instructions in a second of CPU time in its first tenth of a second, and when warm; and the CPU time in milliseconds until half of the warm speed was reached.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { attachJit } from '@nestvm/jit';
import { createBoard } from '../test/support/board.js';
import { buildGuest, type Guest } from './support/guest.js';

/** What each test is given as its amount of work in one call. */
const AMOUNTS: Readonly<Record<string, number>> = {
  integer: 6_000_000,
  branches: 2_500_000,
  muldiv64: 750_000,
  paging: 1_500_000,
  chase: 1_500_000,
  sse_double: 60,
  sse_integer: 250,
  x87: 250_000,
  calls: 75,
  indirect: 2_000_000,
  sha256: 30_000,
};
const RAM_BYTES = 96 << 20;
const SLICE = 1_000_000;
const HALT_AT = 0xff000;
const WARM_CALLS = 3;

const { values, positionals } = parseArgs({ options: { dump: { type: 'string' }, plain: { type: 'boolean' } }, allowPositionals: true });

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

interface Span {
  readonly instructions: number;
  readonly seconds: number;
}
const speed = ({ instructions, seconds }: Span): number => instructions / seconds / 1e6;

/** Writes the modules that are compiled into a folder. */
function dumpModules(folder: string, name: string): () => void {
  mkdirSync(folder, { recursive: true });
  const { Module } = WebAssembly;
  let count = 0;
  WebAssembly.Module = class extends Module {
    constructor(bytes: Uint8Array<ArrayBuffer>) {
      super(bytes);
      writeFileSync(join(folder, `${name}-${count++}.wasm`), bytes);
    }
  } as typeof Module;
  return () => {
    WebAssembly.Module = Module;
  };
}

function runTest(guest: Guest, name: string): { cold: Span; warm: Span; checksum: bigint } {
  const board = createBoard([], { ramBytes: RAM_BYTES });
  const restore = values.dump === undefined ? () => undefined : dumpModules(values.dump, name);
  if (values.plain !== true) attachJit(board.engine);
  board.memory.write(guest.origin, guest.image);
  board.memory.write(HALT_AT, Uint8Array.of(0xf4));
  const call = (): Span[] => {
    const spans: Span[] = [];
    board.restart();
    board.memory.write(0x90000 - 8, Uint8Array.of(0, 0xf0, 0x0f, 0, 0, 0, 0, 0));
    board.cpu.setGpr(4, 0x90000n - 8n);
    board.cpu.setGpr(7, BigInt(AMOUNTS[name] as number));
    board.cpu.rip = BigInt(guest.symbols.get(name) as number);
    for (;;) {
      const [retired, start] = [board.executor.retired, cpuSeconds()];
      const stop = board.executor.run(SLICE);
      spans.push({ instructions: Number(board.executor.retired - retired), seconds: cpuSeconds() - start });
      if (stop === 'idle') return spans;
      if (stop !== 'budget') throw new Error(`${name} stopped: ${stop}`);
    }
  };
  const sum = (spans: readonly Span[]): Span => ({
    instructions: spans.reduce((total, { instructions }) => total + instructions, 0),
    seconds: spans.reduce((total, { seconds }) => total + seconds, 0),
  });
  const cold = sum(call());
  const warm = Array.from({ length: WARM_CALLS }, () => sum(call())).sort((a, b) => a.seconds - b.seconds)[0] as Span;
  restore();
  return { cold, warm, checksum: board.register('RAX') };
}

const guest = buildGuest();
if (guest === null) console.log('no gcc here: nothing measured');
else {
  console.log('test          M instructions   first MIPS    warm MIPS   checksum');
  for (const name of positionals.length > 0 ? positionals : Object.keys(AMOUNTS)) {
    const { cold, warm, checksum } = runTest(guest, name);
    const columns = [
      name.padEnd(12),
      (cold.instructions / 1e6).toFixed(1).padStart(15),
      speed(cold).toFixed(0).padStart(12),
      speed(warm).toFixed(0).padStart(12),
    ];
    console.log(`${columns.join(' ')}   ${checksum.toString(16)}`);
  }
}
