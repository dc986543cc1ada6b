import { expect, test } from 'vitest';
import { HeldBlocks, StateError } from './index.js';

test('blocks are held in order of their numbers, and changes are noted while somebody asks', () => {
  const held = new HeldBlocks(10_000, 4096);
  held.set(2, new Uint8Array(4096).fill(2));
  expect(held.takeChanged()).toEqual([]);
  held.track(true);
  held.set(0, new Uint8Array(4096));
  held.writable(2)![5] = 7;
  expect(held.writable(1)).toBeUndefined();
  expect([held.indices(), held.changedCount, held.takeChanged(), held.takeChanged()]).toEqual([[0, 2], 2, [0, 2], []]);
  held.delete(1);
  held.clear();
  expect([held.count, held.takeChanged()]).toEqual([0, [0, 2]]);
  held.track(false);
  expect(held.takeChanged()).toEqual([]);
});

test('any number of blocks is forgotten in the time of those that are held', () => {
  const held = new HeldBlocks(2 ** 50, 512);
  held.track(true);
  for (const index of [0, 5, 6, 7, 2 ** 40]) held.set(index, new Uint8Array(512));
  held.takeChanged();
  held.deleteRange(6, 2);
  expect([held.indices(), held.takeChanged()]).toEqual([
    [0, 5, 2 ** 40],
    [6, 7],
  ]);
  held.deleteRange(1, 2 ** 41);
  expect([held.indices(), held.takeChanged()]).toEqual([[0], [5, 2 ** 40]]);
});

test('a block that is not on the disk is refused', () => {
  const held = new HeldBlocks(10_000, 4096);
  for (const [index, length] of [
    [3, 4096],
    [-1, 4096],
    [0.5, 4096],
    [0, 4095],
  ] as const)
    expect(() => held.set(index, new Uint8Array(length))).toThrow(StateError);
  expect(held.count).toBe(0);
});
