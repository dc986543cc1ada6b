import { updateMode } from '@nestvm/cpu';
import { CetControl, Cr4, vcpuState } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import { attachJit } from '../src/index.js';
import { At, type Board, createBoard } from './support/board.js';
import { FAULTING_DATA, handleFaults, takePage } from './support/faults.js';
import { random, randomProgram } from './support/random-program.js';

const { offset } = vcpuState;
/** What both must have in common: everything but what is derived, or remembers who ran last. */
const COMPARED: readonly (readonly [string, number, number])[] = [
  ['registers', offset.gpr, 128],
  ['rip', offset.rip, 8],
  ['flags', offset.flagResult, 16],
  ['budget', offset.budget, 4],
  ['vectors', offset.vec, 8 * 64],
  ['MXCSR', offset.mxcsr, 4],
  ['x87', offset.fpr, offset.vec - offset.fpr],
];

function differences(a: Board, b: Board): string[] {
  const found = COMPARED.filter(([, at, length]) => Buffer.compare(a.state.subarray(at, at + length), b.state.subarray(at, at + length)) !== 0).map(
    ([name, at, length]) =>
      `${name}: ${Buffer.from(a.state.subarray(at, at + length)).toString('hex')} / ${Buffer.from(b.state.subarray(at, at + length)).toString('hex')}`,
  );
  if (Buffer.compare(a.ram, b.ram) !== 0) found.push('memory');
  if (a.executor.retired !== b.executor.retired) found.push(`retired: ${a.executor.retired} / ${b.executor.retired}`);
  return found;
}

/** Fills registers, the data and the vectors with the same noise on both boards. */
function scramble(boards: readonly Board[], next: (below: number) => number): void {
  const noise = Uint8Array.from({ length: 4096 }, () => next(256));
  for (const board of boards) {
    board.restart();
    board.ram.set(noise, 0x40000);
    board.state.set(noise.subarray(0, 4 * 8), offset.gpr);
    board.state.set(noise.subarray(256, 768), offset.vec);
  }
}

const PROGRAMS = Number(process.env['NESTVM_JIT_PROGRAMS'] ?? 60);

describe('random programs leave the same state at every stop', { timeout: Math.max(600_000, PROGRAMS * 2000) }, () => {
  it.each([
    [1, 128 << 20],
    [3, 128 << 20],
    [20, 128 << 20],
    // The first threshold at which links pass heads over.
    [24, 128 << 20],
    // Little room: code is parked, comes back, and goes.
    [1, 120_000],
  ])('compiled after %i turns, in %i bytes', (threshold, codeBytes) => {
    // Code that keeps going takes its time.
    const programs = codeBytes < 1 << 20 ? Math.ceil(PROGRAMS / 12) : PROGRAMS;
    let stops = 0;
    let halts = 0;
    const [plain, compiled] = [createBoard([]), createBoard([])];
    const jit = attachJit(compiled.engine, { threshold, codeBytes });
    for (let seed = 1; seed <= programs; seed++) {
      const next = random(seed * 97 + threshold);
      const program = randomProgram(next, 100 + next(300));
      scramble([plain, compiled], next);
      // Somewhere in a page, so that loops and functions are on two pages now and then.
      const start = At.CODE + next(4096);
      for (const board of [plain, compiled]) {
        board.memory.write(start, Uint8Array.from(program));
        board.cpu.rip = BigInt(start);
      }
      for (let turn = 0; turn < 400; turn++) {
        const budget = next(4) === 0 ? next(20_000) : next(1500);
        const stop = plain.executor.run(budget);
        const same = compiled.executor.run(budget) === stop;
        stops++;
        const found = [...differences(plain, compiled), ...(same ? [] : [`another stop than ${stop}`])];
        if (found.length > 0) expect({ seed, threshold, turn, found, program: Buffer.from(program).toString('hex') }).toBeNull();
        if (next(10) === 0) jit.flush();
        if (next(10) === 0) compiled.mmu.flushAll();
        if (stop === 'idle') halts++;
        if (stop !== 'budget') break;
      }
    }
    const { regions, evicted } = jit.counters;
    expect(evicted > 0).toBe(codeBytes < 1 << 20);
    console.log(
      `threshold ${threshold}: ${stops} stops of ${programs} programs, ${regions} regions compiled, ${evicted} evicted, ${halts} programs came to their end`,
    );
    expect(halts).toBeGreaterThan(programs / 2);
    expect(regions).toBeGreaterThan(programs / 2);
  });
});

it('faults come at the same instruction, with the same state, wherever pages are missing', { timeout: Math.max(600_000, PROGRAMS * 2000) }, () => {
  const boards = [createBoard([]), createBoard([])] as const;
  const [plain, compiled] = boards;
  const jit = attachJit(compiled.engine, { threshold: 3 });
  const programs = Math.ceil(PROGRAMS / 2);
  let taken = 0;
  let halts = 0;
  for (let seed = 1; seed <= programs; seed++) {
    const next = random(seed * 131);
    const program = randomProgram(next, 100 + next(300), FAULTING_DATA);
    scramble(boards, next);
    for (const board of boards) {
      handleFaults(board);
      board.memory.write(At.CODE, Uint8Array.from(program));
    }
    for (let turn = 0; turn < 400; turn++) {
      const budget = next(1500);
      const stop = plain.executor.run(budget);
      const same = compiled.executor.run(budget) === stop;
      const found = [...differences(plain, compiled), ...(same ? [] : [`another stop than ${stop}`])];
      if (found.length > 0) expect({ seed, turn, found, program: Buffer.from(program).toString('hex') }).toBeNull();
      if (stop === 'idle') halts++;
      if (stop !== 'budget') break;
      const [page, isWhole] = [next(64), next(2) === 0];
      if (takePage(plain, page, isWhole)) taken++;
      takePage(compiled, page, isWhole);
    }
  }
  console.log(
    `${programs} programs, ${taken} times a page that was there again taken away, ${jit.counters.regions} regions compiled, ${halts} programs came to their end`,
  );
  expect(halts).toBeGreaterThan(programs / 2);
  // More often than pages are there at first.
  expect(taken).toBeGreaterThan(10 * programs);
  expect(jit.counters.regions).toBeGreaterThan(programs);
});

it('modules that are compiled in the background come into force whenever they are there', { timeout: 300_000 }, async () => {
  const [plain, compiled] = [createBoard([]), createBoard([])];
  const jit = attachJit(compiled.engine, { threshold: 32, background: true });
  // More programs where the host is too busy to compile one before its program has ended.
  for (let seed = 1; seed <= 12 || (jit.counters.regions === 0 && seed <= 1000); seed++) {
    const next = random(seed * 31);
    const program = randomProgram(next, 40 + next(200));
    scramble([plain, compiled], next);
    for (const board of [plain, compiled]) board.memory.write(At.CODE, Uint8Array.from(program));
    for (let turn = 0; turn < 200; turn++) {
      const budget = next(20_000);
      const stop = plain.executor.run(budget);
      expect(compiled.executor.run(budget)).toBe(stop);
      expect(differences(plain, compiled)).toEqual([]);
      // The event loop gets a turn, or a module that is under way is dropped.
      if (next(3) === 0) await new Promise((resolve) => setTimeout(resolve, next(4)));
      if (next(20) === 0) jit.flush();
      if (stop !== 'budget') break;
    }
  }
  expect(jit.counters.modules).toBeGreaterThan(0);
  expect(jit.counters.regions).toBeGreaterThan(0);
});

it('code that writes to itself runs as written, compiled or not', () => {
  // mov ecx, 96; outer: mov edx, 50; inner: mov al, 0; add rbx, rax; dec edx; jnz inner; mov [the 0], cl; dec ecx; jnz outer; hlt
  const program = [
    0xb9, 0x60, 0, 0, 0, 0xba, 0x32, 0, 0, 0, 0xb0, 0, 0x48, 0x01, 0xc3, 0xff, 0xca, 0x75, 0xf7, 0x88, 0x0d, 0xf2, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x75,
    0xe8, 0xf4,
  ];
  const boards = [createBoard(program), createBoard(program)] as const;
  const jit = attachJit(boards[1].engine, { threshold: 2 });
  for (const { executor } of boards) expect(executor.run(100_000)).toBe('idle');
  expect(differences(...boards)).toEqual([]);
  expect(boards[1].register('RBX')).toBeGreaterThan(0n);
  expect(jit.counters.regions).toBeGreaterThan(0);
  // 96 times written, and not as often compiled: the page goes back to the interpreter.
  expect(jit.counters.regions).toBeLessThan(24);
});

it('a threshold that is no number of turns is refused', () => {
  expect(() => attachJit(createBoard([0xf4]).engine, { threshold: 0 })).toThrow(/threshold 0/);
});

it('under CET, calls, returns and indirect branches stay with the interpreter, and the code between them is compiled', () => {
  // mov ecx, 3000; again: lea rax, [rip+f]; call rax; call g; add rsi, rbx; xor rsi, rdx; dec ecx; jnz again; hlt; f: endbr64; add rbx, 1; ret; g: add rdx, 3; ret
  const program = [
    0xb9, 0xb8, 0x0b, 0, 0, 0x48, 0x8d, 0x05, 0x12, 0, 0, 0, 0xff, 0xd0, 0xe8, 0x14, 0, 0, 0, 0x48, 0x01, 0xde, 0x48, 0x31, 0xd6, 0xff, 0xc9, 0x75,
    0xe8, 0xf4, 0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xc3, 0x01, 0xc3, 0x48, 0x83, 0xc2, 0x03, 0xc3,
  ];
  const ssp = 0x28_0000;
  const boards = [createBoard(program), createBoard(program)] as const;
  const jit = attachJit(boards[1].engine, { threshold: 2 });
  for (const { cpu, executor, memory } of boards) {
    // The same memory once more, as a shadow stack's.
    memory.write32(0x3008, 0xe1);
    cpu.set64('cr4', cpu.get64('cr4') | BigInt(Cr4.CET));
    cpu.set64('sCet', BigInt(CetControl.SH_STK_EN | CetControl.ENDBR_EN));
    cpu.set64('ssp', BigInt(ssp));
    updateMode(cpu);
    expect(executor.run(100_000)).toBe('idle');
    expect([cpu.get64('ssp'), cpu.get64('sCet'), cpu.gpr(3) & 0xffffn]).toEqual([BigInt(ssp), 5n, 3000n]);
  }
  expect(differences(...boards)).toEqual([]);
  expect(jit.counters.regions).toBeGreaterThan(0);
});

/** mov ecx, 96; outer: mov edx, 50; inner: call f; dec edx; jnz inner; mov [f + 1], cl; dec ecx; jnz outer; hlt; on the next page f: mov al, 0; add rbx, rax; ret. */
const ON_TWO_PAGES = [
  0xb9, 0x60, 0, 0, 0, 0xba, 0x32, 0, 0, 0, 0xe8, 0xf1, 0x0f, 0, 0, 0xff, 0xca, 0x75, 0xf7, 0x88, 0x0d, 0xe8, 0x0f, 0, 0, 0xff, 0xc9, 0x75, 0xe8,
  0xf4,
];
const FUNCTION = [0xb0, 0, 0x48, 0x01, 0xc3, 0xc3];

it('a function on another page that is written to runs as written, compiled or not', () => {
  const boards = [createBoard(ON_TWO_PAGES), createBoard(ON_TWO_PAGES)] as const;
  const jit = attachJit(boards[1].engine, { threshold: 3 });
  for (const { executor, memory } of boards) {
    memory.write(At.CODE + 0x1000, Uint8Array.from(FUNCTION));
    expect(executor.run(100_000)).toBe('idle');
  }
  expect(differences(...boards)).toEqual([]);
  expect(boards[1].register('RBX')).toBeGreaterThan(0n);
  expect(jit.counters.regions).toBeGreaterThan(0);
});

/** mov ecx, 96; outer: mov edx, 50; inner: call f; dec edx; jnz inner; xor dword [thunk], RETURN ^ INCREMENT; dec ecx; jnz outer; hlt; f: add rbx, 1; jmp thunk, on the next page. */
const THROUGH_A_THUNK = [
  0xb9, 0x60, 0, 0, 0, 0xba, 0x32, 0, 0, 0, 0xe8, 0x13, 0, 0, 0, 0xff, 0xca, 0x75, 0xf7, 0x81, 0x35, 0xe3, 0x0f, 0, 0, 0x8b, 0x6f, 0x53, 0x53, 0xff,
  0xc9, 0x75, 0xe4, 0xf4, 0x48, 0x83, 0xc3, 0x01, 0xe9, 0xd5, 0x0f, 0, 0,
];
/** Two forms of the thunk: ret; and inc rbx; ret. */
const RETURN = [0xc3, 0x90, 0x90, 0x90];

it('functions that return through a return on another page do so as it is written, compiled or not', () => {
  const boards = [createBoard(THROUGH_A_THUNK), createBoard(THROUGH_A_THUNK)] as const;
  const jit = attachJit(boards[1].engine, { threshold: 24 });
  for (const { executor, memory, register } of boards) {
    memory.write(At.CODE + 0x1000, Uint8Array.from(RETURN));
    expect(executor.run(200_000)).toBe('idle');
    expect(register('RBX')).toBe(7200n);
  }
  expect(differences(...boards)).toEqual([]);
  expect(jit.counters.regions).toBeGreaterThan(0);
});

it('a page that is mapped elsewhere is left by the region that had it', () => {
  // Without the store to the function.
  const program = ON_TWO_PAGES.with(19, 0x90).with(20, 0x90).fill(0x90, 21, 25);
  const LINEAR = 0x20_0000;
  const run = (compile: boolean): bigint[] => {
    const board = createBoard([]);
    const jit = compile ? attachJit(board.engine, { threshold: 3 }) : null;
    const { cpu, executor, memory, mmu } = board;
    memory.write(At.CODE, Uint8Array.from(program));
    for (const [page, added] of [
      [0x12000, 1],
      [0x13000, 5],
    ] as const)
      memory.write(page, Uint8Array.from(FUNCTION.with(1, added)));
    memory.write32(0x3008, 0x4003);
    memory.write32(0x4000, At.CODE | 3);
    return [0x12000, 0x13000, 0x12000].map((page) => {
      memory.write32(0x4008, page | 3);
      mmu.flushAll();
      board.restart();
      cpu.setGpr(3, 0n);
      cpu.rip = BigInt(LINEAR);
      expect(executor.run(100_000)).toBe('idle');
      if (jit !== null) expect(jit.counters.regions).toBeGreaterThan(0);
      return board.register('RBX');
    });
  };
  expect(run(true)).toEqual(run(false));
  expect(run(true)).toEqual([4800n, 24000n, 4800n]);
});
