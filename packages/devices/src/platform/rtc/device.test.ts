import { beforeEach, describe, expect, it } from 'vitest';
import { random, TestBoard } from '../../../test/board.js';
import { fromSeconds, toSeconds } from './calendar.js';
import { Rtc } from './device.js';

let board: TestBoard;
let rtc: Rtc;
const get = (index: number) => {
  board.out(0x70, index);
  return board.in(0x71);
};
const set = (index: number, value: number) => {
  board.out(0x70, index);
  board.out(0x71, value);
};
const SECOND = 1_000_000_000;

beforeEach(() => {
  board = new TestBoard();
  rtc = new Rtc({ epochSeconds: Date.UTC(2024, 1, 28, 23, 59, 58) / 1000, lowMemoryBytes: 512 << 20, highMemoryBytes: 2 ** 32 });
  rtc.attach(board.wiring);
});

it('agrees with the JavaScript calendar', () => {
  const next = random(5);
  for (let i = 0; i < 20_000; i++) {
    const seconds = next(2 ** 32) * 4 - 2 ** 33;
    const date = new Date(seconds * 1000);
    const time = fromSeconds(seconds);
    const parts = [
      date.getUTCFullYear(),
      date.getUTCMonth() + 1,
      date.getUTCDate(),
      date.getUTCHours(),
      date.getUTCMinutes(),
      date.getUTCSeconds(),
    ] as const;
    expect([time.year, time.month, time.day, time.hours, time.minutes, time.seconds]).toEqual(parts);
    expect(time.weekday).toBe(date.getUTCDay() + 1);
    expect(toSeconds(...parts)).toBe(seconds);
  }
});

describe('a clock of its own', () => {
  /** The same RTC, driven by what `source.ns` says. */
  const driven = (source: { ns: number }) => {
    const other = new Rtc({ epochSeconds: 1000, sourceNs: () => source.ns });
    board = new TestBoard();
    other.attach(board.wiring);
    return other;
  };

  it('drives time and alarm, whatever the guest clock does', () => {
    const source = { ns: 0.5 };
    driven(source);
    board.run(5 * SECOND);
    expect(get(0)).toBe(0x40);
    set(11, 0x12);
    source.ns = 0.9 * SECOND;
    board.run(3 * SECOND);
    expect(board.levels.get('isa:8') ?? 0).toBe(0);
    source.ns = 1.2 * SECOND;
    board.run(SECOND);
    expect([board.levels.get('isa:8'), get(0), get(12) & 0x90]).toEqual([1, 0x41, 0x90]);
    // Somebody set the host's clock back: the next second counts again.
    source.ns = -20 * SECOND;
    board.run(SECOND);
    expect([get(0), get(12) & 0x90]).toEqual([0x20, 0]);
    source.ns = -19 * SECOND;
    board.run(SECOND);
    expect(get(12) & 0x90).toBe(0x90);
  });

  it('is saved in terms of guest time, and goes on elsewhere with either clock', () => {
    const source = { ns: 7.25 * SECOND };
    const first = driven(source);
    board.run(2 * SECOND);
    const saved = first.save();
    const elsewhere = { ns: 100 * SECOND };
    const second = driven(elsewhere);
    board.run(2 * SECOND);
    second.load(saved);
    expect(get(0)).toBe(0x47);
    elsewhere.ns += 0.75 * SECOND;
    expect(get(0)).toBe(0x48);
    board = new TestBoard();
    const third = new Rtc();
    third.attach(board.wiring);
    board.run(2 * SECOND);
    third.load(saved);
    board.run(0.74 * SECOND);
    expect(get(0)).toBe(0x47);
    board.run(0.01 * SECOND);
    expect(get(0)).toBe(0x48);
  });
});

describe('time', () => {
  it('runs in BCD over a leap day, in binary and in 12 hours too', () => {
    expect([9, 8, 7, 4, 2, 0, 0x32, 6].map(get)).toEqual([0x24, 2, 0x28, 0x23, 0x59, 0x58, 0x20, 4]);
    board.run(2 * SECOND);
    expect([8, 7, 4, 2, 0].map(get)).toEqual([2, 0x29, 0, 0, 0]);
    set(11, 0x06);
    expect(get(7)).toBe(29);
    set(11, 0x04);
    expect(get(4)).toBe(12);
    board.run(13 * 3600 * SECOND);
    expect(get(4)).toBe(0x81);
  });

  it('can be set while SET holds it, and goes on from there', () => {
    set(11, 0x82);
    for (const [index, value] of [
      [9, 0x99],
      [0x32, 0x19],
      [8, 0x12],
      [7, 0x31],
      [4, 0x23],
      [2, 0x59],
      [0, 0x59],
    ])
      set(index, value);
    board.run(10 * SECOND);
    expect(get(0)).toBe(0x59);
    set(11, 0x02);
    board.run(SECOND);
    expect([9, 0x32, 8, 7, 4].map(get)).toEqual([0, 0x20, 1, 1, 0]);
  });

  it('announces each update by UIP', () => {
    board.run(SECOND - 244_141);
    expect(get(10) & 0x80).toBe(0);
    board.run(1);
    expect(get(10) & 0x80).toBe(0x80);
    board.run(244_140);
    expect(get(10) & 0x80).toBe(0);
  });

  it('tells memory sizes', () => {
    const word = (index: number) => get(index) | (get(index + 1) << 8);
    expect([word(0x15), word(0x17), word(0x34), word(0x5b)]).toEqual([640, 0xffff, (512 - 16) * 16, 0]);
    expect(get(0x5d)).toBe(1);
  });
});

describe('interrupts', () => {
  it('periodic at 1024 Hz, one for each read of C', () => {
    set(11, 0x42);
    let count = 0;
    for (let ns = 0; ns < SECOND; ns += 100_000) {
      board.run(100_000);
      if (board.level('isa:8')) {
        expect(get(12) & 0xc0).toBe(0xc0);
        count++;
      }
    }
    expect(count).toBe(1024);
  });

  it('update and alarm', () => {
    set(11, 0x12);
    board.run(SECOND);
    expect(get(12)).toBe(0x80 | 0x10 | 0x40);
    set(5, 0xff);
    set(3, 0x01);
    set(1, 0x30);
    set(11, 0x22);
    get(12);
    board.run(90 * SECOND);
    expect(board.level('isa:8')).toBe(0);
    board.run(SECOND);
    expect(board.level('isa:8')).toBe(1);
    expect(get(12) & 0xa0).toBe(0xa0);
    expect(board.level('isa:8')).toBe(0);
  });

  it('flags without interrupts cost no timers', () => {
    expect(board.clock.nextDeadlineNs()).toBe(Infinity);
    board.run(SECOND);
    expect(get(12)).toBe(0x50);
    expect(get(12)).toBe(0);
  });
});
