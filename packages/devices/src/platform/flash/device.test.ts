import { expect, it } from 'vitest';
import { random, TestBoard } from '../../../test/board.js';
import { Flash } from './device.js';

const BASE = 0xffc0_0000;

function make(readOnly = false) {
  const board = new TestBoard();
  const memory = new Uint8Array(0x4000).map((_, i) => i & 0x7f);
  const shown: boolean[] = [];
  const stored: [number, number][] = [];
  const flash = new Flash({
    name: 'flash0',
    base: BASE,
    memory,
    readOnly,
    show: (array) => void shown.push(array),
    onStore: (offset, { length }) => void stored.push([offset, length]),
  });
  flash.attach(board.wiring);
  const write = (offset: number, value: number) => board.mmio.write(BASE + offset, 1, value);
  const read = (offset: number) => board.mmio.read(BASE + offset, 1);
  return { board, flash, memory, shown, stored, write, read };
}

it('is found as flash by how OVMF looks: status after clearing is 0', () => {
  const { write, read, shown } = make();
  write(0x20, 0x50);
  expect(read(0x20)).toBe(0x20);
  write(0x20, 0x70);
  expect(read(0x20)).toBe(0);
  write(0x20, 0xff);
  expect(read(0x20)).toBe(0x20);
  expect(shown).toEqual([true, false, true]);
});

it('programs bytes and erases blocks, and says that it is ready', () => {
  const { write, read, memory, stored } = make();
  write(0x1234, 0x10);
  write(0x1234, 0xa5);
  expect([read(0), memory[0x1234]]).toEqual([0x80, 0xa5]);
  write(0x1fff, 0x20);
  write(0x1fff, 0xd0);
  expect([memory[0xfff], memory[0x1000], memory[0x1fff], memory[0x2000]]).toEqual([0x7f, 0xff, 0xff, 0]);
  write(0, 0xff);
  expect(read(0x1234)).toBe(0xff);
  expect(stored).toEqual([
    [0x1234, 1],
    [0x1000, 0x1000],
  ]);
});

it('programs a buffer when it is confirmed, and nothing else', () => {
  const { write, read, memory, stored } = make();
  const begin = (): void => {
    write(0x100, 0xe8);
    write(0x100, 2);
    for (let i = 0; i < 3; i++) write(0x100 + i, 0x90 + i);
  };
  begin();
  expect(memory[0x100]).toBe(0);
  write(0x100, 0xd0);
  expect([...memory.subarray(0x100, 0x104)]).toEqual([0x90, 0x91, 0x92, 3]);
  begin();
  write(0x100, 0xff);
  expect(read(0)).toBe(0xb0);
  write(0x200, 0xe8);
  write(0x200, 1);
  write(0x200, 1);
  write(0x400, 1);
  expect([read(0), stored.length]).toEqual([0xb0, 1]);
});

it('describes itself', () => {
  const { write, read } = make();
  write(0x55, 0x98);
  expect(String.fromCharCode(read(0x10), read(0x11), read(0x12))).toBe('QRY');
  expect([read(0x27), read(0x2c), read(0x2d), read(0x2e), read(0x2f), read(0x30)]).toEqual([14, 1, 3, 0, 16, 0]);
  write(0, 0x90);
  expect([read(0), read(1), read(2)]).toEqual([0x89, 0x18, 0]);
});

it('stays as it is when it is read-only, and says so', () => {
  const { write, read, memory, stored } = make(true);
  write(0, 0x10);
  write(0, 0xee);
  expect([read(0), memory[0], stored.length]).toEqual([0x90, 0, 0]);
  write(0, 0x50);
  write(0, 0x20);
  write(0, 0xd0);
  expect(read(0)).toBe(0xa0);
});

it('survives every write of every width, and its state goes to another one and back', () => {
  const next = random(7);
  const { board, flash, memory } = make();
  for (let i = 0; i < 200_000; i++) {
    const width = ([1, 2, 4] as const)[next(3)]!;
    const offset = next(0x4000);
    if (next(2)) board.mmio.read(BASE + offset, width);
    else board.mmio.write(BASE + offset, width, next(4) ? [0x10, 0x20, 0x50, 0x60, 0x70, 0x90, 0x98, 0xd0, 0xe8, 0xff, 3][next(11)]! : next(2 ** 31));
    if (i % 1000 !== 0) continue;
    const other = make();
    other.memory.set(memory);
    other.flash.load(flash.save());
    expect(other.flash.save()).toEqual(flash.save());
    expect(other.read(5)).toBe(board.mmio.read(BASE + 5, 1));
  }
});

it('refuses saved state that is none, and sizes that no flash has', () => {
  const { flash } = make();
  expect(() => flash.load({ ...flash.save(), start: 0x3fff, buffer: [1, 2] })).toThrow(/does not fit/);
  expect(() => flash.load({ mode: 9 })).toThrow(/bad|must be/);
  const none = { name: 'x', base: 0, show: () => {} };
  expect(() => new Flash({ ...none, memory: new Uint8Array(100) })).toThrow(/whole blocks/);
});

it('is restored in the middle of a buffer that would not fit behind where it begins', () => {
  const { write, flash, memory } = make();
  write(0x3fff, 0xe8);
  write(0x3fff, 0xff);
  flash.load(JSON.parse(JSON.stringify(flash.save())));
  write(0x3fff, 1);
  flash.load(JSON.parse(JSON.stringify(flash.save())));
  write(0, 2);
  expect(memory[0x3fff]).toBe(0x7f);
});
