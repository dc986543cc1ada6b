import { meanings, systemMeanings } from '@nestvm/semantics';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { updateMode } from '../src/mode.js';
import { createDeterministicRandom } from '../src/ports/random.js';
import { word } from '../src/words.js';
import { At, Board, Sel } from './support/board.js';
import { countCalls, seenBy } from './support/generated.js';

const HLT = 0xf4;
const CODE: Readonly<Record<string, readonly number[]>> = {
  SYSCALL: [0x0f, 0x05],
  SYSRET: [0x48, 0x0f, 0x07],
  SYSRET32: [0x0f, 0x07],
  IRET: [0x48, 0xcf],
  IRET32: [0xcf],
  STAC: [0x0f, 0x01, 0xcb],
  CLAC: [0x0f, 0x01, 0xca],
  POPF: [0x9d],
  POPF16: [0x66, 0x9d],
  MOV_CR2: [0x0f, 0x20, 0xd0],
  MOV_CR3: [0x0f, 0x20, 0xd9],
  MOV_CR4: [0x0f, 0x20, 0xe2],
  MOV_CR0: [0x0f, 0x20, 0xc6],
  MOV_CR1: [0x0f, 0x20, 0xc8],
  RDPKRU: [0x0f, 0x01, 0xee],
  RDFSBASE: [0xf3, 0x48, 0x0f, 0xae, 0xc3],
  RDGSBASE32: [0xf3, 0x0f, 0xae, 0xcb],
  WRFSBASE: [0xf3, 0x48, 0x0f, 0xae, 0xd3],
  WRGSBASE32: [0xf3, 0x0f, 0xae, 0xdb],
  RDTSC: [0x90, 0x0f, 0x31],
  RDTSCP: [0x0f, 0x01, 0xf9],
  LDMXCSR: [0x0f, 0xae, 0x14, 0x24],
  STMXCSR: [0x0f, 0xae, 0x1c, 0x24],
};
const TARGET = At.DATA;

/** A machine, with its system instructions in generated code or all in TypeScript. */
function machine(isGenerated: boolean): { board: Board; executor: Interpreter; calls: () => number } {
  const board = new Board();
  const plain = Object.fromEntries(Object.entries(meanings).filter(([name]) => !(name in systemMeanings)));
  for (let vector = 0; vector < 0x40; vector++) board.longGate(vector, { dpl: 3 });
  board.memory.write(At.HANDLER, new Uint8Array(0x400).fill(HLT));
  const engine = new Engine(board.arena, board.memory, { recordBytes: 1 << 16, ...(isGenerated ? {} : { meanings: plain }) });
  const executor = new Interpreter(board.cpu, engine);
  return { board, executor, calls: countCalls(executor) };
}

const pick = <T>(random: () => number, values: readonly T[]): T => values[random() % values.length]!;

/** One state to begin with; `odd` makes one that generated code has reasons to leave from. */
function prepare(board: Board, name: string, seed: number, odd: boolean): void {
  const source = createDeterministicRandom(seed * 2 + 1);
  const random = (): number => source.next() >>> 0;
  const { cpu, view } = board;
  const oddly = <T>(usual: T, ...unusual: readonly T[]): T => (odd && random() % 4 === 0 ? pick(random, unusual) : usual);
  const cpl = name === 'SYSCALL' ? 3 : (oddly(0, 3) as 0 | 3);
  const cr4 = 0x1_06a0n | oddly(0n, 1n << 21n, 4n, 1n << 22n) | (name === 'RDPKRU' ? 1n << 22n : 0n);
  const flags = pick(random, [0x2, 0x202, 0x246, 0xad7, 0x8d5 | 0x200]) | oddly(0, 0x4000, 0x40000, 0x3000, 0x200000);
  board.memory.write(At.CODE, Uint8Array.from([...CODE[name]!, HLT]));
  board.memory.write(TARGET, new Uint8Array(64).fill(HLT));
  // Each class of privilege once, so that their banks know each other.
  for (const [level, ac] of [
    [0, 0],
    [3, 0],
    [0, 0x40000],
    [0, 0],
    [cpl, 0],
  ] as const) {
    board.long(level);
    cpu.set64('cr4', cr4);
    cpu.set64('efer', BigInt(oddly(0xd01, 0xd00)));
    cpu.writeRflags(0x2 | ac);
    updateMode(cpu);
  }
  cpu.w[word('activity')] = 0;
  cpu.w[word('interruptibility')] = oddly(0, 4);
  for (let i = 0; i < 16; i++) if (i !== 4) cpu.setGpr(i, (BigInt(random()) << 32n) | BigInt(random()));
  for (const segment of [0, 3, 4, 5]) if (!odd || random() % 2 === 0) board.loadSegment(segment, Sel.DATA3);
  cpu.set64('xcr0', oddly(7n, 0x1fn));
  cpu.set64('bndCfgU', oddly(0n, 1n, 3n));
  cpu.set64('star', (BigInt(Sel.LONG3 - 16) << 48n) | (BigInt(Sel.LONG0) << 32n));
  cpu.set64('lstar', BigInt(TARGET));
  cpu.set64('fmask', BigInt(oddly(0x257fd5, 0, 0x200)));
  cpu.set64('cr2', 0x1234_5678_9abcn);
  cpu.set64('tscOffset', BigInt(random()));
  cpu.set64('tscAux', 7n);
  cpu.w[word('pkru')] = 0x55555550;
  cpu.w[word('mxcsr')] = 0x1fa0;
  if (name.startsWith('SYSRET')) {
    cpu.setGpr(1, oddly(BigInt(TARGET), 1n << 47n, 1n << 63n));
    cpu.setGpr(11, BigInt(pick(random, [0x202, 0x246, 0x8d7, 0xad5]) | oddly(0, 0x40000, 0x10000, 0x7000)));
  }
  if (name === 'RDPKRU') cpu.setGpr(1, oddly(0n, 1n));
  if (name.startsWith('WR') && (!odd || random() % 3 !== 0)) cpu.setGpr(3, BigInt(random()));
  const pointer = cpl === 0 ? At.STACK0 - 64 : At.STACK3 - 64;
  cpu.setGpr(4, BigInt(pointer));
  const outer = random() % 2 === 0;
  const frame = [
    oddly(BigInt(TARGET), 1n << 47n, 0x1_0000_0000n),
    BigInt(outer ? oddly<number>(Sel.LONG3, Sel.CODE3, Sel.LONG0, 0, 0x1003) : oddly<number>(Sel.LONG0, Sel.LONG0 | 4, Sel.DATA0, Sel.LONG0 | 1)),
    BigInt(pick(random, [0x202, 0x246, 0x10202, 0x8d7]) | oddly(0, 0x40000, 0x4000, 0x20000, 0x100000)),
    BigInt(At.STACK3 - 8),
    BigInt(outer ? oddly<number>(Sel.DATA3, Sel.DATA0, 0, 3, Sel.LONG3) : pick(random, [0, oddly<number>(Sel.DATA0, 3, Sel.DATA3, Sel.LONG0)])),
  ];
  if (name.startsWith('POPF')) frame[0] = BigInt(pick(random, [0x202, 0x2, 0x8d7, 0xad5]) | oddly(0, 0x40000, 0x4000, 0x3000, 0x10000, 0x200000));
  if (name === 'LDMXCSR') frame[0] = BigInt(oddly(0x1f80, 0x3ffff, 0x1_0000, 0x2_ffff));
  frame.forEach((value, i) => view.setBigUint64(pointer + 8 * i, value, true));
  cpu.writeRflags(flags);
  cpu.requestAttention();
  updateMode(cpu);
}

describe('changes of privilege in generated code', () => {
  const [generated, reference] = [machine(true), machine(false)];
  const runAlike = (name: string, seed: number, odd: boolean): number => {
    const before = generated.calls();
    for (const { board, executor } of [generated, reference]) {
      prepare(board, name, seed, odd);
      const stop = executor.run(20);
      if (!odd) expect(stop).toBe('idle');
    }
    expect(seenBy(generated.board), `${name} ${seed}`).toEqual(seenBy(reference.board));
    return generated.calls() - before;
  };
  for (const name of Object.keys(CODE)) {
    it(`${name} does what the full implementation does, whatever the state`, () => {
      let calls = 0;
      for (let seed = 0; seed < 150; seed++) calls += runAlike(name, seed, true);
      expect(calls).toBeGreaterThan(0);
    });
  }

  const left = new Set(['SYSRET32', 'IRET32', 'MOV_CR1']);
  for (const name of Object.keys(CODE).filter((name) => !left.has(name))) {
    it(`${name} needs no TypeScript where all is plain`, () => {
      for (let seed = 0; seed < 30; seed++) {
        const calls = runAlike(name, seed, false);
        // HLT is the one that does; at level 3 it faults first.
        const faulted = generated.board.cpu.rip > BigInt(At.HANDLER);
        expect(calls, `${name} ${seed}`).toBe(faulted ? 2 : 1);
      }
    });
  }

  it('a bank that has gone stale is cleared before it is in force again', () => {
    const { board, executor, calls } = machine(true);
    const { cpu } = board;
    prepare(board, 'STAC', 1, false);
    cpu.set64('cr4', 0x21_06a0n);
    for (const flags of [0x2, 0x4_0002, 0x2]) {
      cpu.writeRflags(flags);
      updateMode(cpu);
    }
    cpu.mmu.flushAll();
    expect([executor.run(20), calls()]).toEqual(['idle', 2]);
    board.long();
    cpu.w[word('activity')] = 0;
    cpu.set64('cr4', 0x21_06a0n);
    updateMode(cpu);
    expect([executor.run(20), calls()]).toEqual(['idle', 3]);
  });
});
