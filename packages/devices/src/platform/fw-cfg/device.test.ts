import { expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { FwCfg } from './device.js';

const make = () => {
  const board = new TestBoard();
  const fwCfg = new FwCfg({ ramBytes: 0x1_2345_6000, cpus: 3 });
  fwCfg.attach(board.wiring);
  const item = (key: number, bytes: number) => {
    board.out(0x510, key, 2);
    return Array.from({ length: bytes }, () => board.in(0x511));
  };
  return { board, fwCfg, item };
};

it('reads items by port, zeros after their end', () => {
  const { item } = make();
  expect(String.fromCharCode(...item(0, 4))).toBe('QEMU');
  expect(item(1, 6)).toEqual([3, 0, 0, 0, 0, 0]);
  expect(item(3, 8)).toEqual([0, 0x60, 0x45, 0x23, 1, 0, 0, 0]);
  expect(item(5, 2)).toEqual([3, 0]);
});

it('lists files sorted, and brings them by DMA', () => {
  const { board, fwCfg, item } = make();
  fwCfg.setFile('opt/z', new Uint8Array([9]));
  fwCfg.setFile('etc/e820', new Uint8Array([1, 2, 3, 4, 5]));
  const directory = item(0x19, 4 + 128);
  expect(directory.slice(0, 12)).toEqual([0, 0, 0, 2, 0, 0, 0, 5, 0, 0x21, 0, 0]);
  expect(String.fromCharCode(...directory.slice(12, 20))).toBe('etc/e820');
  expect([board.in(0x514, 4), board.in(0x518, 4)]).toEqual([0x554d_4551, 0x4746_4320]);
  const view = new DataView(board.memory.bytes.buffer);
  view.setUint32(0x100, (0x21 << 16) | 0x08 | 0x02);
  view.setUint32(0x104, 7);
  view.setBigUint64(0x108, 0x200n);
  board.memory.bytes.fill(0xee, 0x200, 0x210);
  board.out(0x514, 0, 4);
  board.out(0x518, 0x0001_0000, 4);
  expect([...board.memory.bytes.subarray(0x200, 0x208)]).toEqual([1, 2, 3, 4, 5, 0, 0, 0xee]);
  expect(view.getUint32(0x100)).toBe(0);
  view.setUint32(0x100, 0x10);
  board.out(0x518, 0x0001_0000, 4);
  expect(view.getUint32(0x100)).toBe(1);
  expect(() => fwCfg.setFile('x'.repeat(56), new Uint8Array(0))).toThrow(/too long/);
});

it('makes a file anew each time it is selected, when it can', () => {
  const { fwCfg, item } = make();
  let count = 0;
  fwCfg.setFile('etc/count', Uint8Array.of(0), () => Uint8Array.of(++count));
  expect([item(0x20, 1), item(0x20, 1), item(0x19, 8).slice(4)]).toEqual([[1], [2], [0, 0, 0, 1]]);
});
