import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { CR2, word } from '../src/words.js';
import { At, Board } from './support/board.js';

const HLT = 0xf4;
/** The page whose end is crossed, and where it and the one after it are in memory. */
const LINEAR = 0x80000;
const FIRST = 0x93000;
/** Elsewhere, or behind the first. */
const SECONDS = [0x91000, 0x94000];
const PRESENT = 7n;

/** Loads from [rbx] and stores to [rcx] of each size. */
const COPIES: Readonly<Record<number, readonly number[]>> = {
  2: [0x66, 0x8b, 0x03, 0x66, 0x89, 0x01],
  4: [0x8b, 0x03, 0x89, 0x01],
  8: [0x48, 0x8b, 0x03, 0x48, 0x89, 0x01],
  16: [0x0f, 0x10, 0x03, 0x0f, 0x11, 0x01],
};
/** Adds 0x01010101 to [rbx]. */
const ADD = [0x81, 0x03, 1, 1, 1, 1];

function machine(second: number, entries: { first?: bigint; second?: bigint } = {}): { board: Board; executor: Interpreter; slow: () => number } {
  const board = new Board().long();
  for (let vector = 0; vector < 0x20; vector++) board.longGate(vector);
  board.memory.write(At.HANDLER, new Uint8Array(0x400).fill(HLT));
  const { view } = board;
  view.setBigUint64(At.PT + 8 * (LINEAR >>> 12), BigInt(FIRST) | (entries.first ?? PRESENT), true);
  view.setBigUint64(At.PT + 8 * ((LINEAR >>> 12) + 1), BigInt(second) | (entries.second ?? PRESENT), true);
  for (let i = 0; i < 32; i++) view.setUint8(i < 16 ? FIRST + 4080 + i : second + i - 16, 0x40 + i);
  const engine = new Engine(board.arena, board.memory, { recordBytes: 1 << 16 });
  let slow = 0;
  for (const name of ['hostRead', 'hostWrite'] as const) {
    const real = engine.slow[name].bind(engine.slow);
    engine.slow[name] = (record, base, bytes) => {
      slow++;
      return real(record, base, bytes);
    };
  }
  return { board, executor: new Interpreter(board.cpu, engine), slow: () => slow };
}

function run({ board, executor }: ReturnType<typeof machine>, code: readonly number[], from: number, to: number): void {
  const { cpu } = board;
  board.long();
  cpu.w[word('activity')] = 0;
  board.memory.write(At.CODE, Uint8Array.from([...code, HLT]));
  cpu.setGpr(3, BigInt(from));
  cpu.setGpr(1, BigInt(to));
  expect(executor.run(20)).toBe('idle');
}

const bytesAt = (board: Board, ...addresses: number[]): number[] => addresses.map((address) => board.view.getUint8(address));

describe.each(SECONDS)('accesses that lie on two pages, the second at %i', (second) => {
  for (const [size, code] of Object.entries(COPIES)) {
    it(`${size} bytes are loaded from and stored to both, without TypeScript once it is known where they are`, () => {
      const all = machine(second);
      const { board, slow } = all;
      run(all, [...code, ...code], LINEAR + 0x800, At.DATA);
      // The first write to a page is noted.
      for (const page of [LINEAR, LINEAR + 4096]) run(all, code, At.DATA, page + 0x800);
      const before = slow();
      for (let inFirst = 1; inFirst < Number(size); inFirst++) {
        const at = LINEAR + 4096 - inFirst;
        run(all, code, at, At.DATA);
        const expected = Array.from({ length: Number(size) }, (_, i) => 0x50 - inFirst + i);
        expect(bytesAt(board, ...expected.map((_, i) => At.DATA + i))).toEqual(expected);
        const fresh = expected.map((_, i) => 0x80 + 3 * i + inFirst);
        fresh.forEach((value, i) => board.view.setUint8(At.DATA + i, value));
        run(all, code, At.DATA, at);
        expect(bytesAt(board, ...fresh.map((_, i) => (i < inFirst ? FIRST + 4096 - inFirst + i : second + i - inFirst)))).toEqual(fresh);
        for (let i = 0; i < 32; i++) board.view.setUint8(i < 16 ? FIRST + 4080 + i : second + i - 16, 0x40 + i);
      }
      expect(slow()).toBe(before);
    });
  }

  it('a second page that is not there, or not writable, faults with its own address and leaves the first alone', () => {
    for (const entry of [0n, 5n]) {
      const all = machine(second, { second: entry });
      const { board } = all;
      board.cpu.set64('cr0', 0x80050033n);
      run(all, COPIES[8]!, At.DATA, LINEAR + 4093);
      expect(board.cpu.rip).toBe(BigInt(At.HANDLER + 14 * 16 + 1));
      expect([board.cpu.w[CR2], bytesAt(board, FIRST + 4093, FIRST + 4094, FIRST + 4095)]).toEqual([LINEAR + 4096, [0x4d, 0x4e, 0x4f]]);
    }
  });

  it('read-modify-write works on both', () => {
    const all = machine(second);
    run(all, ADD, LINEAR + 4094, At.DATA);
    expect(bytesAt(all.board, FIRST + 4094, FIRST + 4095, second, second + 1)).toEqual([0x4f, 0x50, 0x51, 0x52]);
  });
});
