import { beforeEach, expect, it } from 'vitest';
import { TestBoard } from '../../test/board.js';
import { PciHost } from '../platform/pci/host.js';
import { MemoryDisk } from '../virtio/block/backend.js';
import { CdDrive } from './cd.js';
import { AtaDisk } from './disk.js';
import { IdeController } from './ide.js';

const SECTORS = 4096;

function make() {
  const board = new TestBoard();
  const store = new MemoryDisk(SECTORS * 512);
  const medium = new MemoryDisk(16 * 2048);
  const opened: boolean[] = [];
  const cd = new CdDrive({ name: 'cd', medium, onTray: (open) => opened.push(open) });
  const ide = new IdeController('ide', [new AtaDisk({ name: 'hd', disk: store, serial: 'S1' }), undefined, cd]);
  const host = new PciHost();
  host.attach(board.wiring);
  host.add(1, ide.pci, 1);
  ide.attach(board.wiring);
  ide.pci.writeConfig(0x20, 4, 0xc000);
  ide.pci.writeConfig(0x04, 2, 5);
  ide.reset();
  ide.pci.writeConfig(0x20, 4, 0xc000);
  ide.pci.writeConfig(0x04, 2, 5);
  return { board, store, medium, cd: cd.drive, ide, opened };
}

let t: ReturnType<typeof make>;
beforeEach(() => {
  t = make();
});

/** Writes a command with its registers to a channel. */
function command(base: number, code: number, { lba = 0, count = 1, features = 0, device = 0xe0 } = {}): void {
  const { board } = t;
  board.out(base + 6, device | ((lba >>> 24) & 15));
  board.out(base + 1, features);
  board.out(base + 2, count);
  for (let i = 0; i < 3; i++) board.out(base + 3 + i, (lba >>> (8 * i)) & 0xff);
  board.out(base + 7, code);
}
const words = (base: number, count: number): number[] => Array.from({ length: count }, () => t.board.in(base, 2));

it('identifies a disk, with an interrupt that the status register takes back', () => {
  command(0x1f0, 0xec);
  expect([t.board.in(0x3f6), t.board.level('isa:14')]).toEqual([0x58, 1]);
  expect([t.board.in(0x1f7), t.board.level('isa:14')]).toEqual([0x58, 0]);
  const data = words(0x1f0, 256);
  expect(data[60]! + data[61]! * 65536).toBe(SECTORS);
  expect(String.fromCharCode(data[10]! >> 8, data[10]! & 0xff)).toBe('S1');
  expect(t.board.in(0x1f7)).toBe(0x50);
});

it('writes and reads sectors by PIO, a block each interrupt', () => {
  command(0x1f0, 0x30, { lba: 5, count: 2 });
  expect([t.board.in(0x1f7), t.board.level('isa:14')]).toEqual([0x58, 0]);
  for (let i = 0; i < 256; i++) t.board.out(0x1f0, i, 2);
  expect([t.board.level('isa:14'), t.board.in(0x1f7)]).toEqual([1, 0x58]);
  for (let i = 0; i < 256; i++) t.board.out(0x1f0, 0x8000 + i, 2);
  expect([t.board.level('isa:14'), t.board.in(0x1f7)]).toEqual([1, 0x50]);
  command(0x1f0, 0x20, { lba: 5, count: 2 });
  expect(words(0x1f0, 256)).toEqual(Array.from({ length: 256 }, (_, i) => i));
  expect(t.board.level('isa:14')).toBe(1);
  expect(words(0x1f0, 256)[3]).toBe(0x8003);
  expect(t.board.in(0x1f7)).toBe(0x50);
});

it('refuses sectors beyond the end and commands that there are not', () => {
  command(0x1f0, 0x20, { lba: SECTORS - 1, count: 2 });
  expect([t.board.in(0x1f7), t.board.in(0x1f1)]).toEqual([0x51, 0x10]);
  command(0x1f0, 0xa0);
  expect([t.board.in(0x1f7), t.board.in(0x1f1)]).toEqual([0x51, 0x04]);
});

it('moves by bus-master DMA through the table of regions', () => {
  const { board, store } = t;
  store.write(
    8 * 512,
    Uint8Array.from({ length: 1024 }, (_, i) => i >> 2),
  );
  const view = new DataView(board.memory.bytes.buffer);
  view.setUint32(0x100, 0x2000, true);
  view.setUint32(0x104, 600, true);
  view.setUint32(0x108, 0x3000, true);
  view.setUint32(0x10c, 0x8000_0000 + 424, true);
  board.out(0xc004, 0x100, 4);
  command(0x1f0, 0xc8, { lba: 8, count: 2 });
  board.out(0xc000, 0x09);
  expect([board.in(0xc002) & 7, board.level('isa:14'), board.in(0x1f7)]).toEqual([4, 1, 0x50]);
  expect([board.memory.bytes[0x2000 + 40], board.memory.bytes[0x3000 + 4]]).toEqual([10, (604 >> 2) & 0xff]);
  board.out(0xc002, 4);
  expect(board.in(0xc002) & 7).toBe(0);
});

it('reads a CD by packets, and says when it was changed', () => {
  const { board, medium, cd } = t;
  medium.write(3 * 2048, Uint8Array.of(1, 2, 3, 4));
  const packet = (...bytes: number[]): void => {
    command(0x170, 0xa0, { lba: 2048 << 8 });
    for (let i = 0; i < 6; i++) board.out(0x170, (bytes[2 * i] ?? 0) | ((bytes[2 * i + 1] ?? 0) << 8), 2);
  };
  expect([board.in(0x174), board.in(0x175)]).toEqual([0x14, 0xeb]);
  packet(0x28, 0, 0, 0, 0, 3, 0, 0, 1);
  expect([board.in(0x177), board.in(0x172), board.in(0x174) | (board.in(0x175) << 8)]).toEqual([0x58, 2, 2048]);
  expect(words(0x170, 1024).slice(0, 2)).toEqual([0x0201, 0x0403]);
  expect([board.level('isa:15'), board.in(0x177), board.in(0x172)]).toEqual([1, 0x50, 3]);
  packet(0x28, 0, 0, 0, 0, 16, 0, 0, 1);
  expect([board.in(0x177), board.in(0x171)]).toEqual([0x51, 0x54]);
  cd.change(new MemoryDisk(2048));
  packet(0);
  expect(board.in(0x171)).toBe(0x64);
  packet(0);
  expect(board.in(0x177)).toBe(0x50);
  packet(0x1b, 0, 0, 0, 2);
  packet(0);
  expect([t.opened, board.in(0x171)]).toEqual([[true], 0x24]);
});

it('goes on after a snapshot in the middle of a transfer', () => {
  t.store.write(
    0,
    Uint8Array.from({ length: 2048 }, (_, i) => i >> 3),
  );
  command(0x1f0, 0x20, { count: 4 });
  words(0x1f0, 300);
  const saved = JSON.parse(JSON.stringify(t.ide.save())) as unknown;
  const rest = words(0x1f0, 724);
  const { store } = t;
  t = make();
  const bytes = new Uint8Array(2048);
  store.read(0, bytes);
  t.store.write(0, bytes);
  t.ide.load(saved);
  expect(words(0x1f0, 724)).toEqual(rest);
  expect(t.board.in(0x1f7)).toBe(0x50);
});

it('answers nothing where no drive is', () => {
  t.board.out(0x1f6, 0xf0);
  expect([t.board.in(0x1f7), t.board.in(0x1f2)]).toEqual([0, 0]);
});
