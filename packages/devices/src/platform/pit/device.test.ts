import { ticksToNs } from '@nestvm/bus';
import { beforeEach, describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { Pit } from './device.js';
import { PIT_HZ } from './registers.js';

let board: TestBoard;
let pit: Pit;

beforeEach(() => {
  board = new TestBoard();
  pit = new Pit();
  pit.attach(board.wiring);
});

/** Moves to a whole number of PIT ticks after `from` ticks. */
const toTick = (tick: number) => board.run(ticksToNs(tick, PIT_HZ) - board.clock.nowNs());
const program = (counter: number, mode: number, count: number) => {
  board.out(0x43, (counter << 6) | 0x30 | (mode << 1));
  board.out(0x40 + counter, count & 0xff);
  board.out(0x40 + counter, count >> 8);
};
const latch = (counter: number) => {
  board.out(0x43, counter << 6);
  return board.in(0x40 + counter) | (board.in(0x40 + counter) << 8);
};
const out2 = () => (board.in(0x61) >> 5) & 1;

describe('counting', () => {
  it('mode 0 counts down once, raises OUT at zero and goes on from 65536', () => {
    program(0, 0, 1000);
    expect(board.level('isa:0')).toBe(0);
    toTick(400);
    expect(latch(0)).toBe(600);
    toTick(999);
    expect(board.level('isa:0')).toBe(0);
    toTick(1000);
    expect(board.level('isa:0')).toBe(1);
    toTick(1001);
    expect(latch(0)).toBe(0xffff);
    expect(board.edgeCount('isa:0')).toBe(1);
  });

  it('mode 2 interrupts once a period, exactly, for a long time', () => {
    program(0, 2, 1193);
    toTick(1193 * 5000 - 1);
    expect(board.edgeCount('isa:0')).toBe(4999);
    toTick(1193 * 5000);
    expect(board.edgeCount('isa:0')).toBe(5000);
    expect(latch(0)).toBe(1193);
  });

  it('a new count in mode 2 waits for the end of the period', () => {
    program(0, 2, 1000);
    toTick(500);
    board.out(0x40, 0x64);
    board.out(0x40, 0);
    board.out(0x43, 0xe2);
    expect(board.in(0x40) & 0x40).toBe(0x40);
    toTick(900);
    expect(latch(0)).toBe(100);
    toTick(1010);
    expect(latch(0)).toBe(90);
    board.out(0x43, 0xe2);
    expect(board.in(0x40) & 0x40).toBe(0);
    expect(board.edgeCount('isa:0')).toBe(1);
    toTick(1300);
    expect(board.edgeCount('isa:0')).toBe(4);
  });

  it('mode 3 counts by two and is high for the longer half', () => {
    board.out(0x61, 1);
    program(2, 3, 7);
    const seen: number[] = [];
    for (let tick = 0; tick < 7; tick++) {
      toTick(tick);
      seen.push(out2());
    }
    expect(seen).toEqual([1, 1, 1, 1, 0, 0, 0]);
    program(2, 3, 100);
    const start = 6;
    toTick(start + 10);
    expect(latch(2)).toBe(80);
    toTick(start + 60);
    expect(latch(2)).toBe(80);
  });

  it('a count of 0 is 65536, 10000 in BCD', () => {
    program(0, 2, 0);
    toTick(1);
    expect(latch(0)).toBe(0xffff);
    board.out(0x43, 0x35);
    board.out(0x40, 0);
    board.out(0x40, 0);
    toTick(2);
    expect(latch(0)).toBe(0x9999);
  });
});

describe('gate and speaker', () => {
  it('counter 2 stops at a low gate in mode 0 and goes on (Linux calibrates so)', () => {
    board.out(0x61, 0);
    program(2, 0, 1000);
    toTick(50);
    expect(latch(2)).toBe(1000);
    board.out(0x61, 1);
    toTick(150);
    expect(latch(2)).toBe(900);
    board.out(0x61, 0);
    toTick(500);
    expect(latch(2)).toBe(900);
    board.out(0x61, 1);
    toTick(1399);
    expect(out2()).toBe(0);
    toTick(1400);
    expect(out2()).toBe(1);
  });

  it('mode 1 is triggered by the gate, again and again', () => {
    program(2, 1, 100);
    expect(out2()).toBe(1);
    toTick(10);
    board.out(0x61, 1);
    expect(out2()).toBe(0);
    toTick(109);
    expect(out2()).toBe(0);
    toTick(110);
    expect(out2()).toBe(1);
    board.out(0x61, 0);
    board.out(0x61, 1);
    expect(out2()).toBe(0);
    expect(latch(2)).toBe(100);
  });

  it('modes 4 and 5 strobe for one tick', () => {
    board.out(0x61, 1);
    program(2, 4, 5);
    toTick(4);
    expect(out2()).toBe(1);
    toTick(5);
    expect(out2()).toBe(0);
    toTick(6);
    expect(out2()).toBe(1);
    board.out(0x61, 0);
    program(2, 5, 5);
    toTick(20);
    expect(out2()).toBe(1);
    board.out(0x61, 1);
    toTick(25);
    expect(out2()).toBe(0);
  });

  it('port 0x61 keeps its low bits and toggles the refresh bit every 15.085 us', () => {
    board.out(0x61, 0xff);
    expect(board.in(0x61) & 0x0f).toBe(0x0f);
    const before = board.in(0x61) & 0x10;
    board.run(15_085);
    expect(board.in(0x61) & 0x10).toBe(before ^ 0x10);
  });
});

describe('access', () => {
  it('latches hold until read; reads without latch alternate', () => {
    program(0, 2, 0x1234);
    toTick(0x34);
    board.out(0x43, 0);
    toTick(0x100);
    expect(board.in(0x40)).toBe(0x00);
    expect(board.in(0x40)).toBe(0x12);
    expect(board.in(0x40)).toBe(0x34);
    expect(board.in(0x40)).toBe(0x11);
  });

  it('reads back status before count', () => {
    program(0, 2, 500);
    board.out(0x43, 0xc2);
    expect(board.in(0x40)).toBe(0xb4);
    expect(board.in(0x40) | (board.in(0x40) << 8)).toBe(500);
  });

  it('low-only and high-only access', () => {
    board.out(0x43, 0x14);
    board.out(0x40, 200);
    toTick(50);
    expect(board.in(0x40)).toBe(150);
    board.out(0x43, 0x24);
    board.out(0x40, 2);
    expect(board.in(0x40)).toBe(2);
  });

  it('runs no timer while counter 0 has no edge to come, nor for the other counters', () => {
    program(2, 3, 50);
    program(1, 2, 18);
    expect(board.clock.nextDeadlineNs()).toBe(Infinity);
    program(0, 0, 100);
    expect(board.clock.nextDeadlineNs()).not.toBe(Infinity);
    board.run(1_000_000);
    expect(board.clock.nextDeadlineNs()).toBe(Infinity);
    program(0, 2, 100);
    pit.setInterruptEnabled(false);
    expect(board.clock.nextDeadlineNs()).toBe(Infinity);
  });

  it('one turn a period at most, though many periods have passed', () => {
    program(0, 2, 2);
    board.clock.advanceTo(1_000_000_000);
    expect(board.edgeCount('isa:0')).toBe(1);
  });
});

it('goes on exactly where it was after a restore', () => {
  program(0, 3, 777);
  program(2, 0, 5000);
  board.out(0x61, 3);
  toTick(1234);
  const other = new TestBoard();
  const copy = new Pit();
  copy.attach(other.wiring);
  other.clock.restore(board.clock.nowNs());
  copy.load(JSON.parse(JSON.stringify(pit.save())));
  const before = board.edgeCount('isa:0');
  const was = other.edgeCount('isa:0');
  for (const [b, p] of [
    [board, pit],
    [other, copy],
  ] as const) {
    b.run(10_000_000);
    expect(p.save()).toEqual(pit.save());
  }
  expect(other.edgeCount('isa:0') - was).toBe(board.edgeCount('isa:0') - before);
});

it('mode 0 raises its line when the count runs out before it is armed, as on a host clock', () => {
  let now = 0;
  board.clock.setSource(() => (now += 1000));
  program(0, 0, 1);
  board.clock.advanceTo((now += 1000));
  expect([board.level('isa:0'), board.edgeCount('isa:0')]).toEqual([1, 1]);
});
