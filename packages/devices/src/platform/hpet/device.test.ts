import { beforeEach, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { Hpet } from './device.js';

const BASE = 0xfed0_0000;
let board: TestBoard;
let legacy: boolean[];
const read = (offset: number) => board.mmio.read(BASE + offset, 4);
const write = (offset: number, value: number) => board.mmio.write(BASE + offset, 4, value);

beforeEach(() => {
  board = new TestBoard();
  legacy = [];
  new Hpet({ onLegacyReplacement: (on) => legacy.push(on) }).attach(board.wiring);
});

it('counts at 100 MHz while enabled, across 2^32', () => {
  expect([read(0), read(4)]).toEqual([0x8086_a201, 10_000_000]);
  write(0xf0, 0xffff_ff00);
  write(0xf4, 7);
  board.run(1000);
  expect(read(0xf0)).toBe(0xffff_ff00);
  write(0x10, 1);
  board.run(2560);
  expect([read(0xf0), read(0xf4)]).toEqual([0, 8]);
  write(0x10, 0);
  board.run(1000);
  expect(read(0xf0)).toBe(0);
});

it('runs periodically the way Linux sets it up, as IRQ 0 under legacy replacement', () => {
  write(0x100, 0x14c);
  write(0x108, 100_000);
  write(0x108, 250_000);
  write(0x10, 3);
  expect(legacy).toEqual([true]);
  board.run(1_000_000);
  expect(board.edgeCount('isa:0')).toBe(1);
  board.run(25_000_000);
  expect(board.edgeCount('isa:0')).toBe(11);
  board.clock.advanceTo(board.clock.nowNs() + 1_000_000_000);
  expect(board.edgeCount('isa:0')).toBe(12);
  board.run(2_500_000);
  expect(board.edgeCount('isa:0')).toBe(13);
});

it('one-shot to a routed pin, level with status', () => {
  write(0x120, (20 << 9) | 6);
  write(0x10, 1);
  write(0x128, 500);
  write(0x12c, 0);
  board.run(5000);
  expect(board.level('gsi:20')).toBe(1);
  expect(read(0x20)).toBe(2);
  write(0x20, 2);
  expect(board.level('gsi:20')).toBe(0);
  expect(board.clock.nextDeadlineNs()).toBe(Infinity);
});

it('survives a period of one tick', () => {
  write(0x100, 0x14c);
  write(0x108, 1);
  write(0x108, 1);
  write(0x10, 3);
  expect(board.run(1_000_000)).toBeLessThan(1000);
});
