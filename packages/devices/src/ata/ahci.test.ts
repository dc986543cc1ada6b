import { beforeEach, expect, it } from 'vitest';
import { TestBoard } from '../../test/board.js';
import { PciHost } from '../platform/pci/host.js';
import { MemoryDisk } from '../virtio/block/backend.js';
import { AhciController } from './ahci.js';
import { CdDrive } from './cd.js';
import { AtaDisk } from './disk.js';

const BASE = 0xf000_0000;
const [LISTS, FRAMES, TABLE, DATA] = [0x1000, 0x2000, 0x3000, 0x4000];

function make() {
  const board = new TestBoard();
  const store = new MemoryDisk(4096 * 512);
  const ahci = new AhciController('ahci', [new AtaDisk({ name: 'hd', disk: store }), new CdDrive({ name: 'cd', medium: new MemoryDisk(8 * 2048) })]);
  const host = new PciHost();
  host.attach(board.wiring);
  host.add(2, ahci.pci);
  ahci.attach(board.wiring);
  ahci.reset();
  ahci.pci.writeConfig(0x24, 4, BASE);
  ahci.pci.writeConfig(0x04, 2, 6);
  const read = (offset: number): number => board.mmio.read(BASE + offset, 4);
  const write = (offset: number, value: number): void => board.mmio.write(BASE + offset, 4, value);
  for (const port of [0x100, 0x180]) {
    write(port, LISTS);
    write(port + 8, FRAMES);
    write(port + 0x14, 0xffff_ffff);
    write(port + 0x18, 0x11);
  }
  write(4, 2);
  return { board, store, ahci, read, write, view: new DataView(board.memory.bytes.buffer) };
}

let t: ReturnType<typeof make>;
beforeEach(() => {
  t = make();
});

interface Request {
  readonly lba?: number;
  readonly count?: number;
  readonly features?: number;
  readonly bytes?: number;
  readonly slot?: number;
  readonly packet?: readonly number[];
}

/** Puts a command into a slot and issues it. */
function issue(port: number, code: number, { lba = 0, count = 1, features = 0, bytes = 512, slot = 0, packet }: Request = {}): void {
  const { view, board, write } = t;
  view.setUint32(LISTS + 32 * slot, 5 | (packet ? 0x20 : 0) | (1 << 16), true);
  view.setUint32(LISTS + 32 * slot + 8, TABLE, true);
  board.memory.bytes.fill(0, TABLE, TABLE + 0x90);
  board.memory.bytes.set([0x27, 0x80, code, features, lba & 0xff, lba >> 8, 0, 0x40, 0, 0, 0, features >> 8, count, count >> 8], TABLE);
  if (packet) board.memory.bytes.set(packet, TABLE + 0x40);
  view.setUint32(TABLE + 0x80, DATA, true);
  view.setUint32(TABLE + 0x8c, bytes - 1, true);
  write(port + 0x38, 1 << slot);
}

it('says what is plugged in', () => {
  expect([t.read(0x0c), t.read(0x124), t.read(0x1a4), t.read(0x128)]).toEqual([3, 0x101, 0xeb14_0101, 0x113]);
});

it('identifies by a PIO setup frame, with an interrupt', () => {
  issue(0x100, 0xec);
  expect([t.read(0x138), t.read(0x110), t.read(8), t.read(0x120)]).toEqual([0, 2, 1, 0x50]);
  expect([t.board.memory.bytes[FRAMES + 0x20], t.board.memory.bytes[FRAMES + 0x2f]]).toEqual([0x5f, 0x50]);
  expect(t.view.getUint16(DATA + 120, true)).toBe(4096);
  t.write(0x110, 2);
  t.write(8, 1);
  expect([t.read(0x110), t.read(8)]).toEqual([0, 0]);
});

it('writes by a queued command and reads it back by DMA', () => {
  t.board.memory.bytes.fill(0xa5, DATA, DATA + 1024);
  t.write(0x134, 1 << 3);
  issue(0x100, 0x61, { lba: 7, features: 2, count: 3 << 3, bytes: 1024, slot: 3 });
  expect([t.read(0x134), t.read(0x138), t.read(0x110)]).toEqual([0, 0, 8]);
  expect(t.view.getUint32(FRAMES + 0x5c, true)).toBe(8);
  t.board.memory.bytes.fill(0, DATA, DATA + 1024);
  issue(0x100, 0x25, { lba: 8 });
  expect([t.board.memory.bytes[DATA + 511], t.view.getUint32(LISTS + 4, true)]).toEqual([0xa5, 512]);
});

it('keeps what failed in its slot until the port is stopped', () => {
  issue(0x100, 0x25, { lba: 5000 });
  expect([t.read(0x138), t.read(0x110), t.read(0x120)]).toEqual([1, 0x4000_0001, 0x1051]);
  issue(0x100, 0xec, { slot: 1 });
  expect(t.read(0x138)).toBe(3);
  t.write(0x118, 0x10);
  expect(t.read(0x138)).toBe(0);
  t.write(0x118, 0x11);
  issue(0x100, 0xec);
  expect(t.read(0x120)).toBe(0x50);
});

it('takes packets for a CD', () => {
  issue(0x180, 0xa0, { bytes: 8, packet: [0x25] });
  expect([t.view.getUint32(DATA), t.view.getUint32(DATA + 4), t.read(0x190)]).toEqual([7, 2048, 1]);
});

it('goes on after a snapshot', () => {
  issue(0x100, 0x25, { lba: 5000 });
  const saved = JSON.parse(JSON.stringify(t.ahci.save())) as unknown;
  t = make();
  t.ahci.load(saved);
  expect([t.read(0x138), t.read(0x120)]).toEqual([1, 0x1051]);
  expect(() => t.ahci.load({ control: 0, status: 0, ports: [] })).toThrow(/ports/);
});
