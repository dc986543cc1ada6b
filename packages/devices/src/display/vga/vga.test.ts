import { beforeEach, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { PciHost } from '../../platform/pci/host.js';
import { Vga } from './device.js';

function make() {
  const board = new TestBoard();
  const vga = new Vga({ memory: new Uint8Array(0x10_0000) });
  const host = new PciHost();
  host.attach(board.wiring);
  host.add(2, vga.pci);
  vga.attach(board.wiring);
  vga.pci.writeConfig(0x10, 4, 0xe000_0000);
  vga.pci.writeConfig(0x18, 4, 0xe100_0000);
  vga.pci.writeConfig(0x04, 2, 3);
  const indexed = (port: number, values: Readonly<Record<number, number>>): void => {
    for (const [index, value] of Object.entries(values)) {
      board.out(port, Number(index));
      board.out(port + 1, value);
    }
  };
  const attribute = (values: Readonly<Record<number, number>>): void => {
    board.in(0x3da);
    for (const [index, value] of Object.entries(values)) {
      board.out(0x3c0, Number(index));
      board.out(0x3c0, value);
    }
    board.out(0x3c0, 0x20);
  };
  const colour = (index: number, red: number, green: number, blue: number): void => {
    board.out(0x3c8, index);
    for (const part of [red, green, blue]) board.out(0x3c9, part);
  };
  const dispi = (register: number, value: number): void => {
    board.out(0x1ce, register, 2);
    board.out(0x1cf, value, 2);
  };
  const pixel = (x: number, y: number): number[] => {
    const { width, pixels } = vga.picture()!;
    return [...pixels.subarray((y * width + x) * 4, (y * width + x) * 4 + 3)];
  };
  board.out(0x3c2, 0x67);
  return { board, vga, indexed, attribute, colour, dispi, pixel };
}

let t: ReturnType<typeof make>;
beforeEach(() => {
  t = make();
});

const write = (at: number, ...bytes: number[]): void => bytes.forEach((byte, i) => t.board.mmio.write(0xa0000 + at + i, 1, byte));
const read = (at: number): number => t.board.mmio.read(0xa0000 + at, 1);

/** 80 × 25 cells of 9 × 16 dots. */
function textMode(): void {
  t.indexed(0x3c4, { 1: 0, 2: 3, 3: 0, 4: 2 });
  t.indexed(0x3d4, { 0x11: 0, 1: 79, 7: 0x1f, 9: 0x4f, 0x0a: 0x0d, 0x0b: 0x0e, 0x12: 0x8f, 0x13: 40, 0x17: 0xa3 });
  t.indexed(0x3ce, { 4: 0, 5: 0x10, 6: 0x0e });
  t.attribute({ 0: 0, 7: 7, 0x10: 0x0c, 0x12: 15 });
  t.colour(7, 42, 42, 42);
}

it('shows text by the font in plane 2, with a cursor', () => {
  t.indexed(0x3c4, { 2: 4, 4: 6 });
  t.indexed(0x3ce, { 4: 2, 5: 0, 6: 0x04, 8: 0xff });
  write(65 * 32, 0x80, 0x01);
  textMode();
  write(0x18000, 65, 7, 66, 7);
  t.indexed(0x3d4, { 0x0e: 0, 0x0f: 1 });
  const screen = t.vga.text()!;
  expect([screen.columns, screen.rows, screen.cursor, ...screen.cells.subarray(0, 4)]).toEqual([80, 25, 1, 65, 7, 66, 7]);
  const { width, height } = t.vga.picture()!;
  expect([width, height]).toEqual([720, 400]);
  expect([t.pixel(0, 0), t.pixel(1, 0), t.pixel(7, 1), t.pixel(9, 13)]).toEqual([
    [170, 170, 170],
    [0, 0, 0],
    [170, 170, 170],
    [170, 170, 170],
  ]);
});

it('writes planes through latches, set/reset, masks and functions', () => {
  t.indexed(0x3c4, { 2: 15, 4: 6 });
  t.indexed(0x3ce, { 0: 5, 1: 15, 3: 0, 5: 0, 6: 5, 8: 0xf0 });
  write(0, 0);
  t.indexed(0x3ce, { 1: 0, 4: 0 });
  expect(read(0)).toBe(0xf0);
  t.board.out(0x3cf, 1);
  expect(read(0)).toBe(0);
  t.indexed(0x3ce, { 5: 1 });
  write(10, 0);
  t.indexed(0x3ce, { 5: 0, 4: 2 });
  expect(read(10)).toBe(0xf0);
  t.indexed(0x3ce, { 3: 0x18, 8: 0xff });
  read(10);
  write(10, 0xff);
  expect(read(10)).toBe(0x0f);
  t.indexed(0x3ce, { 5: 8, 2: 5, 7: 15 });
  expect(read(0)).toBe(0xf0);
});

it('shows 256 colours, chained', () => {
  t.indexed(0x3c4, { 1: 1, 2: 15, 4: 0x0e });
  t.indexed(0x3ce, { 5: 0x40, 6: 5, 8: 0xff });
  t.indexed(0x3d4, { 0x11: 0, 1: 79, 7: 0x1f, 9: 0x41, 0x12: 0x8f, 0x13: 40, 0x17: 0xa3 });
  t.attribute({ 0x10: 0x41 });
  t.colour(9, 63, 0, 0);
  write(320 + 5, 9);
  expect([t.vga.picture()!.width, t.vga.picture()!.height, t.pixel(5, 1)]).toEqual([320, 200, [255, 0, 0]]);
});

it('has a linear framebuffer of any depth, with an offset', () => {
  t.dispi(1, 64);
  t.dispi(2, 32);
  t.dispi(3, 32);
  t.dispi(6, 64);
  t.dispi(4, 0x41);
  t.board.mmio.write(0xe000_0000 + (3 * 64 + 2) * 4, 4, 0x00112233);
  expect([t.vga.picture()!.width, t.vga.picture()!.height, t.pixel(2, 3)]).toEqual([64, 32, [0x11, 0x22, 0x33]]);
  t.dispi(9, 1);
  expect(t.pixel(2, 2)).toEqual([0x11, 0x22, 0x33]);
  expect([t.board.mmio.read(0xe100_0500, 2), t.board.mmio.read(0xe100_0502, 2)]).toEqual([0xb0c5, 64]);
  const saved = JSON.parse(JSON.stringify(t.vga.save())) as unknown;
  t.dispi(4, 0);
  expect(t.vga.picture()).toBeUndefined();
  t.vga.load(saved);
  expect(t.pixel(2, 2)).toEqual([0x11, 0x22, 0x33]);
});

it('refuses video memory that cannot be', () => {
  expect(() => new Vga({ memory: new Uint8Array(1000) })).toThrow(/power of two/);
});
