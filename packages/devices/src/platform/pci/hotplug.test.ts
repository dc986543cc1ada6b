import { expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { PciFunction } from './function.js';
import { PciHost } from './host.js';
import { PciHotplug } from './hotplug.js';

const BASE = 0xae00;

function make() {
  const board = new TestBoard();
  const host = new PciHost();
  host.attach(board.wiring);
  const card = new PciFunction({ name: 'card', vendor: 0x1234, device: 1, classCode: 0 });
  card.addBar({ index: 0, kind: 'memory', size: 0x1000, read: () => 0x77, write: () => {} });
  host.add(5, card);
  let notified = 0;
  const left: number[] = [];
  const hotplug = new PciHotplug({
    base: BASE,
    notify: () => void notified++,
    isRemovable: (slot) => slot === 5 || slot === 31,
    onEject: (slot) => {
      left.push(slot);
      host.remove(slot);
    },
  });
  hotplug.attach(board.wiring);
  host.setHotplug(hotplug);
  const read = (register: number): number => board.in(BASE + register, 4);
  return { board, host, card, hotplug, read, notified: () => notified, left };
}

it('shows filled slots once, slots to be emptied until the guest lets go, and what may leave', () => {
  const { hotplug, read, notified, board, left } = make();
  hotplug.filled(31);
  hotplug.filled(5);
  hotplug.requestEject(5);
  expect(notified()).toBe(3);
  expect([read(0), read(0)]).toEqual([0x8000_0020, 0]);
  expect([read(4), read(4), read(12)]).toEqual([0x20, 0x20, 0x8000_0020]);
  board.out(BASE + 8, 0x60, 4);
  expect([left, read(4)]).toEqual([[5], 0]);
});

it('takes a card off the bus with its regions', () => {
  const { board, host, card } = make();
  card.writeConfig(0x10, 4, 0xf000_0000);
  card.writeConfig(0x04, 2, 2);
  expect(board.mmio.read(0xf000_0000, 1)).toBe(0x77);
  host.remove(5);
  expect(board.mmio.list()).toEqual([]);
  board.out(0xcf8, 0x8000_0000 | (5 << 11), 4);
  expect(board.in(0xcfc, 4)).toBe(0xffff_ffff);
  host.add(5, card);
  expect(board.in(0xcfc, 4)).toBe(0x0001_1234);
});

it('keeps what waits for the guest in snapshots, and loads those of hosts without hot plug; a reset takes out what was to leave', () => {
  const { host, hotplug, read, left } = make();
  const before = host.save();
  expect(before).toEqual({ address: 0 });
  hotplug.filled(31);
  hotplug.requestEject(5);
  const other = make();
  other.host.load(JSON.parse(JSON.stringify(host.save())));
  expect([other.read(0), other.read(4)]).toEqual([0x8000_0000, 0x20]);
  hotplug.reset();
  expect([left, read(0), read(4)]).toEqual([[5], 0, 0]);
  other.host.load(before);
  expect(other.read(4)).toBe(0);
});
