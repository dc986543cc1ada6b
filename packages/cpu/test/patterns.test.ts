import { Mode } from '@nestvm/isa';
import { expect, it } from 'vitest';
import type { BlockBuilder } from '../src/blocks/block-builder.js';
import type { Patterns } from '../src/blocks/patterns.js';
import { Engine } from '../src/engine.js';
import { createDeterministicRandom } from '../src/ports/random.js';
import { At, Board } from './support/board.js';

const random = createDeterministicRandom(11);
const pick = (count: number): number => (random.next() >>> 0) % count;
const BYTES = 256;
const ROUNDS = 400;
/** What code mostly consists of, by opcode; those with a ModRM byte first. */
const WITH_MODRM = [
  0x01, 0x03, 0x29, 0x2b, 0x31, 0x33, 0x39, 0x3b, 0x69, 0x6b, 0x80, 0x81, 0x83, 0x84, 0x85, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0xc1, 0xc7, 0xf7, 0xff,
];
const WITHOUT = [0x05, 0x24, 0x3c, 0x3d, 0x50, 0x5d, 0x68, 0x6a, 0x74, 0x75, 0x90, 0xa1, 0xa8, 0xa9, 0xb8, 0xbf, 0xc2, 0xc3, 0xe8, 0xeb, 0xc8, 0xcd];
const PREFIXES = [0x66, 0x67, 0x65, 0x2e, 0xf3, 0xf0];

const modes = {
  '64-bit': Mode.LONG | Mode.PROTECTED | Mode.IA32E,
  'aligned 64-bit': Mode.LONG | Mode.PROTECTED | Mode.IA32E | Mode.ALIGN | Mode.USER,
  'flat 32-bit': Mode.CODE32 | Mode.STACK32 | Mode.PROTECTED | Mode.FLAT,
  '16-bit': Mode.PROTECTED,
  'tracked 64-bit': Mode.LONG | Mode.PROTECTED | Mode.IA32E | Mode.IBT,
} as const;

/** Bytes that look like instructions, in the hope that many are; all numbers by chance. */
function anyCode(): Uint8Array {
  const bytes: number[] = [];
  while (bytes.length < BYTES) {
    if (pick(8) === 0) bytes.push(PREFIXES[pick(PREFIXES.length)]!);
    if (pick(2) === 0) bytes.push(0x40 | pick(16));
    if (pick(3) === 0) bytes.push(WITHOUT[pick(WITHOUT.length)]!);
    else if (pick(6) === 0) bytes.push(0x0f, pick(256), pick(256));
    else bytes.push(WITH_MODRM[pick(WITH_MODRM.length)]!, pick(256));
    for (let i = pick(6); i > 0; i--) bytes.push(pick(256));
  }
  return Uint8Array.from(bytes.slice(0, BYTES));
}

function machine(): { board: Board; builder: BlockBuilder; records: (mode: number) => unknown[]; patterns: Patterns } {
  const board = new Board();
  board.long(0);
  const { builder, cache } = new Engine(board.arena, board.memory, { recordBytes: 1 << 20 });
  const { i32 } = board.arena;
  const host = board.memory.arenaOffsetOf(At.CODE);
  /** The records of the block there, and what TypeScript is told of the instructions that it carries out. */
  const records = (mode: number): unknown[] => {
    cache.flush();
    builder.systemRecords.length = 0;
    const start = builder.build(board.cpu, host, mode, At.CODE, 0);
    return [
      [...i32.subarray(start >>> 2, cache.reserve(0) >>> 2)],
      builder.systemRecords.map(({ insn, vector }) => (vector < 0 ? { ...insn } : vector)),
    ];
  };
  return { board, builder, records, patterns: (builder as unknown as { patterns: Patterns }).patterns };
}

it.each(Object.entries(modes))('records by pattern are those of the decoder: %s', (_, mode) => {
  const { board, records, patterns } = machine();
  const find = patterns.find.bind(patterns);
  let found = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const code = anyCode();
    board.memory.write(At.CODE, code);
    patterns.find = (root, at) => {
      const pattern = find(root, at);
      if (pattern !== 0) found++;
      return pattern;
    };
    const quick = records(mode);
    const learn = patterns.learn.bind(patterns);
    patterns.find = () => 0;
    patterns.learn = () => undefined;
    expect(quick, [...code].map((byte) => byte.toString(16)).join(' ')).toEqual(records(mode));
    patterns.learn = learn;
  }
  if ((mode & Mode.GOVERNED) === 0) expect(found).toBeGreaterThan(ROUNDS / 2);
  else expect(found).toBe(0);
});

it('takes no more patterns than there is room for, and goes on without', () => {
  const { board, records, patterns } = machine();
  const root = patterns.rootOf(modes['64-bit']);
  const host = board.memory.arenaOffsetOf(At.CODE);
  // mov [r + r * n + 0], r, and such, with all prefixes, registers and scales
  const instruction = (n: number): number[] => [0x66, 0x40 | (n & 15), 0x88 + ((n >> 4) & 3), 0x84 | (((n >> 6) & 7) << 3), n >> 9, 0, 0, 0, 0];
  for (let n = 0; n < 20_000; n += 24) {
    const code = Array.from({ length: 24 }, (_, i) => instruction(n + i));
    board.memory.write(At.CODE, Uint8Array.from([...code.flat(), 0xc3]));
    records(modes['64-bit']);
  }
  expect(patterns.find(root, host)).toBe(0);
  const last = records(modes['64-bit']);
  patterns.find = () => 0;
  expect(records(modes['64-bit'])).toEqual(last);
});
