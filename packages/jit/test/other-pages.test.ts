import { afterEach, describe, expect, it, vi } from 'vitest';
import { CompiledCode } from '../src/compiled-code.js';
import { attachJit, type Jit } from '../src/index.js';
import { type Board, createBoard } from './support/board.js';
import { random } from './support/random-program.js';

const LINEAR = 0x20_0000;
/** Where pages of the guest lie: that of the loop, of two functions, of a pointer to one of them, and of a loop that calls the second one. */
const Place = { LOOP: 0x11000, FIRST: 0x12000, SECOND: 0x13000, POINTER: 0x14000, OTHER_LOOP: 0x15000 } as const;
const PAGE_TABLE = 0x4000;
const TURNS = 20_000;

/** mov ecx, 20000; again: call thunk; dec ecx; jnz again; hlt; thunk: jmp [the pointer, three pages on]. */
const LOOP = [0xb9, 0x20, 0x4e, 0, 0, 0xe8, 0x05, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xf4, 0xff, 0x25, 0xeb, 0x2f, 0, 0];
/** The same with a direct call of the function on the page so many behind. */
const direct = (pages: number): number[] => [0xb9, 0x20, 0x4e, 0, 0, 0xe8, 0xf6, (pages << 4) - 1, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xf4];
/** mov al, `added`; test al, 1; jz on; add rbx, rax; on: add rbx, rax; ret */
const adding = (added: number): number[] => [0xb0, added, 0xa8, 1, 0x74, 3, 0x48, 0x01, 0xc3, 0x48, 0x01, 0xc3, 0xc3];
/** What a function adds in a call: twice as much if that is odd. */
const sum = (added: number): number => added * (1 + (added & 1));

const map = (board: Board, page: number, to: number): void => {
  board.memory.write32(PAGE_TABLE + 8 * page, to | 3);
  board.mmu.flushAll();
};

function prepare(board: Board, loop: readonly number[]): void {
  const { memory, cpu } = board;
  memory.write(Place.LOOP, Uint8Array.from(loop));
  memory.write(Place.OTHER_LOOP, Uint8Array.from(direct(2)));
  memory.write(Place.FIRST, Uint8Array.from(adding(1)));
  memory.write(Place.SECOND, Uint8Array.from(adding(6)));
  memory.write32(0x3008, PAGE_TABLE | 3);
  memory.write32(0x300c, 0);
  for (const [page, to] of Object.values(Place).entries()) {
    memory.write32(PAGE_TABLE + 8 * page, to | 3);
    memory.write32(PAGE_TABLE + 8 * page + 4, 0);
  }
  memory.write32(Place.POINTER, LINEAR + 0x1000);
  memory.write32(Place.POINTER + 4, 0);
  board.mmu.flushAll();
  cpu.setGpr(0, 0n);
  cpu.setGpr(3, 0n);
  cpu.rip = BigInt(LINEAR);
}

interface Code {
  readonly loop: readonly number[];
  readonly threshold: number;
}
const THROUGH_A_POINTER: Code = { loop: LOOP, threshold: 24 };
/** So that what is called is never compiled with its caller, but by itself. */
const DIRECTLY: Code = { loop: direct(1), threshold: 2000 };

/** Runs the loop on both boards in slices, with the same disturbance between them; gives what each slice added. */
function runBoth(
  disturb: (board: Board, slice: number) => void,
  perturb: (jit: Jit, slice: number) => void = () => undefined,
  { loop, threshold }: Code = THROUGH_A_POINTER,
): void {
  const boards = [createBoard([]), createBoard([])] as const;
  const jit = attachJit(boards[1].engine, { threshold });
  for (const board of boards) {
    board.restart();
    prepare(board, loop);
  }
  const next = random(7);
  for (let slice = 0, stop = 'budget'; stop === 'budget'; slice++) {
    const budget = 3000 + next(6000);
    const [first, second] = boards.map((board) => {
      const ended = board.executor.run(budget);
      return { ended, rip: board.cpu.rip, rbx: board.register('RBX'), rcx: board.register('RCX'), retired: board.executor.retired };
    });
    expect(second).toEqual(first);
    stop = first!.ended;
    for (const board of boards) disturb(board, slice);
    perturb(jit, slice);
  }
  expect(boards[1].register('RCX')).toBe(0n);
}

describe('a function that is called through a pointer, on another page', () => {
  const install = vi.spyOn(CompiledCode.prototype, 'install');
  afterEach(() => install.mockClear());
  /** Most pages that one region was on. */
  const mostPages = (): number => Math.max(...install.mock.calls.map(([region]) => region.pages.length));

  it('is compiled with its caller, all of it', () => {
    runBoth(() => undefined);
    expect(mostPages()).toBe(2);
    const regions = install.mock.calls.map(([region]) => region).filter(({ pages }) => pages.length === 2);
    // Both blocks that are run.
    expect(Math.max(...regions.map(({ blocks }) => blocks.filter(({ offset }) => offset >= 0x1000).length))).toBe(2);
  });

  it('may be written to', () => {
    runBoth(({ memory }, slice) => memory.write(Place.FIRST + 1, Uint8Array.of(slice % 7)));
    expect(mostPages()).toBe(2);
  });

  it('may be another one', () => {
    runBoth(({ memory }, slice) => memory.write32(Place.POINTER, LINEAR + 0x1000 * (1 + (slice & 1))));
    expect(mostPages()).toBeGreaterThanOrEqual(2);
  });

  it('may be mapped elsewhere', () => {
    runBoth((board, slice) => map(board, 1, slice & 1 ? Place.SECOND : Place.FIRST));
    expect(mostPages()).toBeGreaterThanOrEqual(2);
  });

  it('may lose its code at any time', () => {
    runBoth(
      () => undefined,
      (jit, slice) => slice % 3 === 0 && jit.flush(),
    );
    expect(mostPages()).toBe(2);
  });

  it('adds what it is to add', () => {
    const board = createBoard([]);
    attachJit(board.engine, { threshold: 24 });
    for (const [place, added] of [0x1000, 0x2000, 0x1000].map((at, i) => [at, i === 1 ? 6 : 1] as const)) {
      board.restart();
      prepare(board, LOOP);
      board.memory.write32(Place.POINTER, LINEAR + place);
      expect(board.executor.run(1_000_000)).toBe('idle');
      expect(board.register('RBX')).toBe(BigInt(TURNS * sum(added)));
    }
  });
});

describe('a function that is called directly, on another page', () => {
  const install = vi.spyOn(CompiledCode.prototype, 'install');
  afterEach(() => install.mockClear());
  /** Each region has been on a page of its own. */
  const apart = (): boolean => install.mock.calls.length > 0 && install.mock.calls.every(([region]) => region.pages.length === 1);

  it('is compiled by itself', () => {
    runBoth(() => undefined, undefined, DIRECTLY);
    expect(install.mock.calls.length).toBeGreaterThanOrEqual(2);
    expect(apart()).toBe(true);
  });

  it('may be written to', () => {
    runBoth(({ memory }, slice) => slice % 8 === 7 && memory.write(Place.FIRST + 1, Uint8Array.of(slice % 7)), undefined, DIRECTLY);
    expect(apart()).toBe(true);
  });

  it('may be mapped elsewhere', () => {
    runBoth((board, slice) => map(board, 1, slice & 1 ? Place.SECOND : Place.FIRST), undefined, DIRECTLY);
    expect(apart()).toBe(true);
  });

  it('may return to a page that is mapped elsewhere', () => {
    runBoth((board, slice) => map(board, 0, slice & 1 ? Place.OTHER_LOOP : Place.LOOP), undefined, DIRECTLY);
    expect(apart()).toBe(true);
  });

  it('may return to code that was written to', () => {
    // inc ecx; sub ecx, 2 in place of dec ecx is longer: the jump moves.
    const later = [0xff, 0xc1, 0x83, 0xe9, 0x02, 0x75, 0xf4, 0xf4];
    const [before, after] = [direct(1), [...direct(1).slice(0, 10), ...later]];
    runBoth(
      ({ memory, cpu }, slice) =>
        slice % 8 === 7 && cpu.rip >= BigInt(LINEAR + 0x1000) && memory.write(Place.LOOP, Uint8Array.from(slice % 16 === 15 ? after : before)),
      undefined,
      DIRECTLY,
    );
    expect(apart()).toBe(true);
  });

  it('may lose all code, records too', () => {
    runBoth(({ engine }, slice) => slice % 8 === 0 && engine.cache.flush(), undefined, { ...DIRECTLY, threshold: 500 });
    expect(apart()).toBe(true);
  });
});
