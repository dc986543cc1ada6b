import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { Outcome } from '../src/outcome.js';
import { registerState } from '../src/saved-state.js';
import { At, Board } from './support/board.js';

const PMC0 = 0xc1;
const SELECT0 = 0x186;
const FIXED0 = 0x309;
const FIXED_CONTROL = 0x38d;
const STATUS = 0x38e;
const GLOBAL = 0x38f;
const CLEAR = 0x390;
const USER = 1 << 16;
const SYSTEM = 1 << 17;
const INTERRUPT = 1 << 20;
const ENABLE = 1 << 22;
const INSTRUCTIONS = 0xc0;
const CYCLES = 0x3c;
const BOTH = USER | SYSTEM | ENABLE;
const RDPMC = [0x0f, 0x33];
const HLT = 0xf4;
const NOP = 0x90;

function write(board: Board, index: number, value: number, high = 0): void {
  if (!board.cpu.msrs.write(index, value | 0, high)) throw new Error(`#GP for MSR ${index.toString(16)}`);
}
function read(board: Board, index: number): number {
  const { cpu } = board;
  if (!cpu.msrs.read(index)) throw new Error(`#GP for MSR ${index.toString(16)}`);
  return (cpu.hi >>> 0) * 2 ** 32 + (cpu.lo >>> 0);
}

/** A board with an executor: code ends in HLT, and each instruction takes a nanosecond. */
function arrange(model = 'max'): { board: Board; executor: Interpreter; run: (...code: number[]) => void; interrupts: boolean[] } {
  const board = new Board(model).long(0);
  const executor = new Interpreter(board.cpu, new Engine(board.arena, board.memory, { recordBytes: 1 << 16 }));
  const interrupts: boolean[] = [];
  Object.assign(board.interrupts, { performanceInterrupt: (mask: boolean) => interrupts.push(mask) });
  const run = (...code: number[]): void => {
    board.memory.write(At.CODE, Uint8Array.from([...code, HLT]));
    board.cpu.rip = BigInt(At.CODE);
    board.cpu.set32('activity', 0);
    executor.run(100_000);
  };
  return { board, executor, run, interrupts };
}

/** Lets the board's clock keep one timer; `fire` moves time to its deadline. */
function keepTime(board: Board): { fire: () => void; deadline: () => number } {
  let deadline = Infinity;
  let callback = (): void => {};
  Object.assign(board.cpu.clock, {
    createTimer: (_name: string, called: () => void) => {
      callback = called;
      return { arm: (ns: number) => (deadline = ns), cancel: () => (deadline = Infinity) };
    },
  });
  return {
    deadline: () => deadline,
    fire: () => {
      board.nowNs = deadline;
      deadline = Infinity;
      callback();
    },
  };
}

describe('performance counters', () => {
  it('count retired instructions', () => {
    const { board, run } = arrange();
    write(board, SELECT0, INSTRUCTIONS | BOTH);
    run(...new Array<number>(100).fill(NOP));
    expect(read(board, PMC0)).toBe(101);
    write(board, SELECT0, 0);
    run(NOP, NOP);
    expect(read(board, PMC0), 'off').toBe(101);
  });

  it('count cycles, which are nanoseconds, but not halted ones', () => {
    const { board, run, executor } = arrange();
    write(board, SELECT0 + 1, CYCLES | BOTH);
    write(board, FIXED_CONTROL, 0x330);
    write(board, GLOBAL, 0xf, 6);
    board.nowNs += 500;
    expect([read(board, PMC0 + 1), read(board, FIXED0 + 1), read(board, FIXED0 + 2)]).toEqual([500, 500, 500]);
    run(NOP);
    board.nowNs += 10_000;
    expect(read(board, PMC0 + 1)).toBe(500);
    board.longGate(0x30);
    board.memory.write(At.HANDLER + 0x300, Uint8Array.of(NOP, HLT));
    board.interrupts.vector = 0x30;
    board.cpu.requestAttention();
    board.cpu.writeRflags(0x202);
    Object.defineProperty(board.cpu.clock, 'nowNs', { value: () => (board.nowNs += 10) });
    executor.run(10);
    const counted = read(board, PMC0 + 1);
    expect(counted).toBeGreaterThan(500);
    expect(counted).toBeLessThan(1000);
  });

  it('count only what both enables and the level allow', () => {
    const { board, run } = arrange();
    write(board, FIXED_CONTROL, 2);
    write(board, SELECT0, INSTRUCTIONS | SYSTEM | ENABLE);
    write(board, SELECT0 + 1, INSTRUCTIONS | BOTH);
    write(board, GLOBAL, 1, 1);
    run(NOP, NOP);
    // Level 0 only; not enabled globally; level 3 only.
    expect([read(board, PMC0), read(board, PMC0 + 1), read(board, FIXED0)]).toEqual([3, 0, 0]);
  });

  it('tell the levels apart when they change', () => {
    const { board, run, executor } = arrange();
    write(board, FIXED_CONTROL, 2);
    write(board, SELECT0, INSTRUCTIONS | SYSTEM | ENABLE);
    write(board, GLOBAL, 1, 1);
    // IRETQ to level 3: two NOPs, and a fault that leads to the HLT of the handler.
    const user = At.CODE + 0x100;
    board.memory.write(user, Uint8Array.of(NOP, NOP, HLT));
    board.longGate(13);
    board.memory.write(At.HANDLER + 13 * 16, Uint8Array.of(NOP, HLT));
    const push = (value: number): number[] => [0x68, value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, 0];
    run(...push(0x23), ...push(At.STACK3), ...push(0x202), ...push(0x33), ...push(user), 0x48, 0xcf);
    expect(executor.retired).toBeGreaterThan(9);
    // The faulting HLT counts as an instruction of level 3 here.
    expect([read(board, PMC0), read(board, FIXED0)]).toEqual([5 + 1 + 2, 2 + 1]);
  });

  it('wrap at 48 bits, set their status, and have it cleared', () => {
    const { board, run } = arrange();
    write(board, PMC0, -2);
    expect(read(board, PMC0), 'the sign of 32 bits').toBe(2 ** 48 - 2);
    write(board, FIXED0, -1, 0xffff);
    write(board, FIXED_CONTROL, 3);
    write(board, SELECT0, INSTRUCTIONS | BOTH);
    write(board, GLOBAL, 0xf, 1);
    run(NOP, NOP, NOP);
    expect([read(board, PMC0), read(board, FIXED0)]).toEqual([2, 3]);
    expect(read(board, STATUS)).toBe(2 ** 32 + 1);
    write(board, CLEAR, 1, 0);
    expect(read(board, STATUS)).toBe(2 ** 32);
    write(board, CLEAR, 0, 1);
    expect(read(board, STATUS)).toBe(0);
  });

  it('interrupt at the overflow of an instruction counter, some instructions late at most', () => {
    const { board, run, interrupts } = arrange();
    let at = -1;
    Object.assign(board.interrupts, {
      performanceInterrupt: (mask: boolean) => {
        interrupts.push(mask);
        at = Number(board.cpu.rip) - At.CODE;
      },
    });
    write(board, PMC0, -1000);
    write(board, SELECT0, INSTRUCTIONS | BOTH | INTERRUPT);
    // Blocks of ten NOPs and a jump.
    const block = [...new Array<number>(10).fill(NOP), 0xeb, 0x00];
    run(...new Array(200).fill(block).flat());
    expect(interrupts).toEqual([true]);
    expect((at / 12) * 11).toBeGreaterThanOrEqual(1000);
    expect((at / 12) * 11).toBeLessThan(1030);
    expect(read(board, PMC0)).toBe(2200 + 1 - 1000);
  });

  it('stop, and stop the recording of branches, at an interrupt, if IA32_DEBUGCTL says so', () => {
    const { board, run, interrupts } = arrange();
    const debugControl = 0x1d9;
    write(board, PMC0, -10);
    write(board, SELECT0, INSTRUCTIONS | BOTH | INTERRUPT);
    write(board, SELECT0 + 1, INSTRUCTIONS | BOTH);
    write(board, debugControl, (1 << 12) | (1 << 11) | 1);
    run(...new Array<number>(200).fill(NOP));
    expect(interrupts).toEqual([true]);
    expect([read(board, GLOBAL), read(board, debugControl)]).toEqual([0, 0x1800]);
    expect(read(board, PMC0 + 1)).toBeLessThan(50);
    expect(new Board('max,pmu=off').long(0).cpu.msrs.write(debugControl, 1 << 12, 0)).toBe(false);
  });

  it('have a timer for the overflow of cycles while the vCPU runs', () => {
    const { board, run, interrupts } = arrange();
    const timer = keepTime(board);
    write(board, PMC0, -1000);
    write(board, SELECT0, CYCLES | BOTH | INTERRUPT);
    expect(timer.deadline()).toBe(board.nowNs + 1000);
    run(NOP);
    expect(timer.deadline(), 'halted').toBe(Infinity);
    write(board, SELECT0, 0);
    const other = arrange();
    const clock = keepTime(other.board);
    write(other.board, PMC0, -1000);
    write(other.board, SELECT0, CYCLES | BOTH | INTERRUPT);
    clock.fire();
    expect([interrupts, other.interrupts]).toEqual([[], [true]]);
    expect(read(other.board, STATUS)).toBe(1);
  });

  it('are read by RDPMC: general and fixed ones; at level 3 under CR4.PCE', () => {
    const { board } = arrange();
    const { cpu } = board;
    write(board, PMC0 + 3, 0x1234);
    write(board, FIXED0 + 1, 0x5678, 0x9a);
    for (const [index, lo, hi] of [
      [3, 0x1234n, 0n],
      [0x40000001, 0x5678n, 0x9an],
    ] as const) {
      cpu.setGpr(1, BigInt(index));
      expect(board.execute(...RDPMC)).toBe(Outcome.NEXT);
      expect([cpu.gpr(0), cpu.gpr(2)]).toEqual([lo, hi]);
    }
    for (const index of [4, 0x40000003, 0x80000000]) {
      cpu.setGpr(1, BigInt(index));
      expect(board.faults(...RDPMC)).toBe('13:0');
    }
    const user = new Board().long(3);
    user.cpu.setGpr(1, 0n);
    expect(user.faults(...RDPMC)).toBe('13:0');
    user.cpu.set64('cr4', 0x7a0n);
    expect(user.execute(...RDPMC)).toBe(Outcome.NEXT);
    const none = new Board('max,pmu=off').long(0);
    none.cpu.setGpr(1, 0n);
    expect(none.faults(...RDPMC)).toBe('13:0');
    expect([PMC0, SELECT0, FIXED0, GLOBAL].map((index) => none.cpu.msrs.has(index))).toEqual([false, false, false, false]);
  });

  it('reject reserved bits', () => {
    const { board } = arrange();
    const refuses = (index: number, lo: number, hi: number): boolean => !board.cpu.msrs.write(index, lo, hi);
    for (const [index, lo, hi] of [
      [SELECT0, 0, 1],
      [SELECT0, 1 << 21, 0],
      [FIXED0, 0, 0x10000],
      [FIXED_CONTROL, 4, 0],
      [FIXED_CONTROL, 0x1000, 0],
      [GLOBAL, 0x10, 0],
      [GLOBAL, 0, 8],
      [CLEAR, 0x10, 0],
      [STATUS, 0, 0],
    ] as const)
      expect(refuses(index, lo, hi), `${index.toString(16)} ${lo} ${hi}`).toBe(true);
    expect(read(board, GLOBAL), 'after RESET the general ones are enabled').toBe(0xf);
    board.cpu.msrs.read(0x1a0);
    expect(board.cpu.lo & 0x80).toBe(0x80);
  });

  it('go on after a snapshot', () => {
    const { board, run } = arrange();
    write(board, SELECT0, INSTRUCTIONS | BOTH);
    run(NOP, NOP);
    const saved = registerState(board.cpu).save();
    const other = arrange();
    registerState(other.board.cpu).load(saved);
    expect(read(other.board, PMC0)).toBe(3);
    other.run(NOP);
    expect(read(other.board, PMC0)).toBe(5);
  });
});

describe("AMD's performance counters", () => {
  const CTL = 0xc0010200;
  const K7_SELECT = 0xc0010000;
  const K7_COUNT = 0xc0010004;

  it('count under both of their numbers', () => {
    const { board, run, interrupts } = arrange('max,vendor=amd');
    write(board, K7_SELECT + 1, INSTRUCTIONS | BOTH | INTERRUPT);
    write(board, K7_COUNT + 1, -100, 0xffff);
    write(board, CTL + 10, 0x76 | BOTH);
    run(NOP, NOP);
    expect(read(board, CTL + 3)).toBe(2 ** 48 - 97);
    board.cpu.set32('activity', 0);
    run(...new Array<number>(200).fill(NOP));
    expect(interrupts, 'the LVT entry is not masked').toEqual([false]);
    board.cpu.setGpr(1, 1n);
    board.execute(...RDPMC);
    expect(board.cpu.gpr(0)).toBe(104n);
    board.cpu.setGpr(1, 6n);
    expect(board.faults(...RDPMC)).toBe('13:0');
  });

  it('count guests or hosts only, if told so', () => {
    const { board, run } = arrange('max,vendor=amd');
    write(board, CTL, INSTRUCTIONS | BOTH, 1 << 8);
    write(board, CTL + 2, INSTRUCTIONS | BOTH, 1 << 9);
    run(NOP, NOP);
    expect([read(board, CTL + 1), read(board, CTL + 3)]).toEqual([0, 3]);
  });

  it('stand still without pmu, as those of a K7', () => {
    const { board, run } = arrange('EPYC');
    write(board, K7_SELECT, INSTRUCTIONS | BOTH);
    run(NOP);
    expect(read(board, K7_COUNT)).toBe(0);
    expect(board.cpu.msrs.has(CTL)).toBe(false);
  });
});
