import { PageFlag } from '@nestvm/memory';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/engine.js';
import { Interpreter } from '../src/executor.js';
import { CR2, word } from '../src/words.js';
import { At, Board } from './support/board.js';

const HLT = 0xf4;
/** The page that holds functions and data, and where it is in memory. */
const LINEAR = 0x80000;
const PAGE = 0x93000;
const PRESENT = 7n;
/** mov eax, 0; ret */
const FUNCTION = [0xb8, 0, 0, 0, 0, 0xc3];
const SPACING = 32;
/** Stores of rax to [rdi], by size; adds rax to [rdi]. */
const STORES: Readonly<Record<number, readonly number[]>> = { 1: [0x88, 0x07], 2: [0x66, 0x89, 0x07], 4: [0x89, 0x07], 8: [0x48, 0x89, 0x07] };
const ADD = [0x48, 0x01, 0x07];
/** call rsi */
const CALL = [0xff, 0xd6];

class Machine {
  readonly board = new Board().long();
  readonly engine: Engine;
  readonly executor: Interpreter;
  /** Times that TypeScript was asked about a store, or heard of one to decoded bytes. */
  asked = 0;

  constructor() {
    const { board } = this;
    for (let vector = 0; vector < 0x20; vector++) board.longGate(vector);
    board.memory.write(At.HANDLER, new Uint8Array(0x400).fill(HLT));
    this.map(PRESENT);
    for (let at = 0; at < 4096; at += SPACING) board.memory.write(PAGE + at, Uint8Array.from(FUNCTION));
    this.engine = new Engine(board.arena, board.memory, { recordBytes: 1 << 16 });
    const { slow } = this.engine;
    for (const name of ['hostWrite', 'hostModify'] as const) {
      const real = slow[name].bind(slow);
      slow[name] = (record, base, bytes) => {
        this.asked++;
        return real(record, base, bytes);
      };
    }
    const heard = board.memory.onCodeWrite;
    const page = board.memory.arenaOffsetOf(PAGE);
    board.memory.onCodeWrite = (offset, length) => {
      if (offset >= page && offset < page + 4096) this.asked++;
      heard(offset, length);
    };
    this.executor = new Interpreter(board.cpu, this.engine);
  }

  map(flags: bigint): void {
    this.board.view.setBigUint64(At.PT + 8 * (LINEAR >>> 12), BigInt(PAGE) | flags, true);
  }

  /** Runs code with RDI at a place of the page, RSI at a function, and a value in RAX, which it gives back. */
  run(code: readonly number[], to: number, value = 0n, target = 0): number {
    const { board, executor } = this;
    const { cpu } = board;
    board.long();
    cpu.w[word('activity')] = 0;
    board.memory.write(At.CODE, Uint8Array.from([...code, HLT]));
    cpu.setGpr(7, BigInt(LINEAR + to));
    cpu.setGpr(6, BigInt(LINEAR + target));
    cpu.setGpr(0, value);
    if (executor.run(20) !== 'idle') throw new Error(`the code at ${cpu.rip} has not come to its end`);
    return Number(BigInt.asUintN(32, cpu.gpr(0)));
  }

  /** The same, and how often TypeScript was asked meanwhile. */
  asks(...run: Parameters<Machine['run']>): number {
    const before = this.asked;
    this.run(...run);
    return this.asked - before;
  }

  get bytes(): Buffer {
    const { u8 } = this.board.arena;
    const at = this.board.memory.arenaOffsetOf(PAGE);
    return Buffer.from(u8.subarray(at, at + 4096));
  }
}

/** A machine with a function in the page that was called, and to whose page something was written. */
function warm(): Machine {
  const machine = new Machine();
  machine.run([...CALL], 0);
  machine.run([...STORES[4]!, ...CALL], 16, 1n);
  return machine;
}

describe('writes to a page of code', () => {
  it.each(Object.entries(STORES))('of %s bytes beside code concern nobody', (_, store) => {
    const machine = warm();
    expect(machine.asks([...store, ...CALL], 24, 0x11n)).toBe(0);
    expect(machine.bytes[24]).toBe(0x11);
  });

  it('that read and modify do not, either', () => {
    const machine = warm();
    machine.run(STORES[8]!, 24, 3n);
    expect(machine.asks([...ADD, ...CALL], 24, 4n)).toBe(0);
    expect(machine.bytes[24]).toBe(7);
  });

  it('reach the code that is in their way, in part or as a whole', () => {
    const machine = warm();
    for (const [at, value] of [
      [1, 0x1234n],
      [2, 0x5678n],
    ] as const) {
      machine.run(STORES[4]!, at, value);
      const expected = machine.bytes.readUInt32LE(1);
      // The store may write over the RET.
      if (at + 4 > 5) machine.run(STORES[1]!, 5, 0xc3n);
      expect(machine.run(CALL, 0)).toBe(expected & (at + 4 > 5 ? 0xffffffff : expected));
    }
  });

  it('are heard of once there is code where they go', () => {
    const machine = warm();
    machine.run(STORES[1]!, 3 * SPACING + 1, 5n);
    machine.run(CALL, 0, 0n, 3 * SPACING);
    expect(machine.asks(STORES[1]!, 3 * SPACING + 1, 6n)).toBeGreaterThan(0);
    expect(machine.run(CALL, 0, 0n, 3 * SPACING)).toBe(6);
  });

  it('are logged and watched where somebody asks for it', () => {
    for (const flag of [PageFlag.DIRTY_LOG, PageFlag.WATCHED]) {
      const machine = warm();
      const { memory } = machine.board;
      machine.run(STORES[4]!, 24, 1n);
      let watched = 0;
      memory.onWatchedWrite = () => watched++;
      const page = memory.arenaOffsetOf(PAGE) >>> 12;
      memory.setFlag(page, flag);
      machine.run(STORES[4]!, 24, 2n);
      expect([memory.pageFlags[page]! & PageFlag.DIRTY_LOG, watched]).toEqual([0, flag === PageFlag.WATCHED ? 1 : 0]);
    }
  });

  it('fault when the page may not be written any more', () => {
    const machine = warm();
    const { board } = machine;
    expect(machine.asks(STORES[4]!, 24, 1n)).toBe(0);
    machine.map(5n);
    board.cpu.set64('cr0', 0x80050033n);
    // invlpg [rdi]; the store
    machine.run([0x0f, 0x01, 0x3f, ...STORES[4]!], 24, 2n);
    expect([board.cpu.rip, board.cpu.w[CR2], machine.bytes[24]]).toEqual([BigInt(At.HANDLER + 14 * 16 + 1), LINEAR + 24, 1]);
  });

  it('are plain again some time after the code has gone', () => {
    const machine = warm();
    machine.run(STORES[1]!, 1, 9n);
    let asked = 0;
    for (let i = 0; i < 40; i++) asked += machine.asks(STORES[1]!, 1, BigInt(i));
    expect(asked).toBeLessThan(4);
    expect(machine.board.memory.pageFlags[machine.board.memory.arenaOffsetOf(PAGE) >>> 12]! & PageFlag.CODE).toBe(0);
    expect(machine.run(CALL, 0)).toBe(39);
  });
});

it('what is written and run in any order is as without caches', () => {
  const [machine, fresh] = [new Machine(), new Machine()];
  let seed = 1;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % n;
  };
  for (let turn = 0; turn < 3000; turn++) {
    const size = 1 << random(4);
    const slot = random(5) * SPACING;
    // Into the immediate, or behind the RET, across lines and up to the end.
    const inside = size <= 4 && random(3) === 0;
    const to = slot + (inside ? 1 + random(5 - size) : FUNCTION.length + random(SPACING - FUNCTION.length - size + 1));
    const value = BigInt(random(1 << 24)) * 0x1_0001_0001n;
    const code = [...(random(5) === 0 && !inside && size === 8 ? ADD : STORES[size]!), ...(random(2) === 0 ? CALL : [])];
    const target = random(5) * SPACING;
    fresh.engine.cache.flush();
    expect(machine.run(code, to, value, target)).toBe(fresh.run(code, to, value, target));
  }
  expect(machine.bytes.equals(fresh.bytes)).toBe(true);
  expect(machine.engine.cache.invalidations).toBeGreaterThan(100);
});
