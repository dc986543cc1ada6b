/**
 * Repeated string instructions: `tsx packages/jit/bench/strings.bench.ts [NAME…]`. Bytes in a nanosecond of CPU time (of one side), by instruction, width of elements and bytes of the
 * string, between places of different alignment; in front of them what the host's own functions do with the same memory.
 */

import { Gpr } from '@nestvm/isa';
import { attachJit } from '@nestvm/jit';
import { createBoard } from '../test/support/board.js';

const RAM_BYTES = 24 << 20;
const [FROM, TO] = [4 << 20, (6 << 20) + 4096];
const SIZES = [64, 1024, 16384, 1 << 20];
const BYTES_OF_A_TEST = 256 << 20;
const RUNS = 3;
const HLT = 0xf4;

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** Opcodes of the forms for bytes and for more; with the prefix. */
const INSTRUCTIONS: Readonly<Record<string, { readonly rep: number; readonly opcode: number; readonly host: (a: Buffer, b: Buffer) => void }>> = {
  movs: { rep: 0xf3, opcode: 0xa4, host: (a, b) => void a.copy(b) },
  stos: { rep: 0xf3, opcode: 0xaa, host: (_, b) => void b.fill(0) },
  cmps: { rep: 0xf3, opcode: 0xa6, host: (a, b) => void a.compare(b) },
  scas: { rep: 0xf2, opcode: 0xae, host: (_, b) => void b.includes(1) },
};

const encode = (opcode: number, rep: number, bytes: number): number[] => [
  ...(bytes === 2 ? [0x66] : []),
  rep,
  ...(bytes === 8 ? [0x48] : []),
  bytes === 1 ? opcode : opcode + 1,
];

/** `again: mov rsi, r8; mov rdi, r9; mov rcx, r10; REP …; dec r12; jnz again; hlt`. */
const loopOf = (instruction: readonly number[]): number[] => {
  const body = [0x4c, 0x89, 0xc6, 0x4c, 0x89, 0xcf, 0x4c, 0x89, 0xd1, ...instruction, 0x49, 0xff, 0xcc];
  return [...body, 0x75, -(body.length + 2) & 0xff, HLT];
};

function best(bytes: number, run: () => void): string {
  let seconds = Number.POSITIVE_INFINITY;
  for (let i = 0; i < RUNS; i++) {
    const start = cpuSeconds();
    run();
    seconds = Math.min(seconds, cpuSeconds() - start);
  }
  return (bytes / seconds / 1e9).toFixed(2).padStart(9);
}

function measureGuest(name: string, width: number, size: number): string {
  const { rep, opcode } = INSTRUCTIONS[name]!;
  const board = createBoard(loopOf(encode(opcode, rep, width)), { ramBytes: RAM_BYTES });
  attachJit(board.engine);
  const turns = Math.max(1, BYTES_OF_A_TEST / 4 / Math.max(size, 512));
  const run = (): void => {
    board.restart();
    const { cpu } = board;
    for (const [register, value] of [
      [Gpr.R8, FROM + 21],
      [Gpr.R9, TO + 8],
      [Gpr.R10, size / width],
      [Gpr.R12, turns],
      [Gpr.RAX, 0x0102030405060708n],
    ] as const)
      cpu.setGpr(register, BigInt(value));
    while (board.executor.run(1_000_000) === 'budget');
  };
  run();
  return best(size * turns, run);
}

function measureHost(name: string, size: number): string {
  const memory = Buffer.alloc(RAM_BYTES);
  const [a, b] = [memory.subarray(FROM + 21, FROM + 21 + size), memory.subarray(TO + 8, TO + 8 + size)];
  const turns = Math.max(1, BYTES_OF_A_TEST / Math.max(size, 512));
  return best(size * turns, () => {
    for (let i = 0; i < turns; i++) INSTRUCTIONS[name]!.host(a, b);
  });
}

console.log(`bytes in a ns    ${SIZES.map((size) => String(size).padStart(9)).join('')}`);
for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(INSTRUCTIONS)) {
  console.log(`${name}, host        ${SIZES.map((size) => measureHost(name, size)).join('')}`);
  for (const width of [1, 2, 4, 8]) console.log(`${name}, ${width} bytes     ${SIZES.map((size) => measureGuest(name, width, size)).join('')}`);
}
