import { beforeEach, describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { AcpiPm } from '../acpi-pm/device.js';
import { ResetControl } from '../ports/reset-control.js';
import { assignPciResources } from './firmware.js';
import { PciFunction } from './function.js';
import { PciHost } from './host.js';
import { addI440Fx } from './i440fx.js';
import { addQ35 } from './q35.js';

let board: TestBoard;
let host: PciHost;
let card: PciFunction;
let written: [number, number][];
const address = (slot: number, register: number, fn = 0) => board.out(0xcf8, 0x8000_0000 + slot * 0x800 + fn * 0x100 + (register & 0xfc), 4);
const get = (slot: number, register: number, width: 1 | 2 | 4 = 4) => {
  address(slot, register);
  return board.in(0xcfc + (register & 3), width);
};
const put = (slot: number, register: number, value: number, width: 1 | 2 | 4 = 4) => {
  address(slot, register);
  board.out(0xcfc + (register & 3), value, width);
};

beforeEach(() => {
  board = new TestBoard();
  written = [];
  card = new PciFunction({ name: 'card', vendor: 0x1af4, device: 0x1000, classCode: 0x02_0000, interruptPin: 1 });
  card.addBar({ index: 0, kind: 'io', size: 64, read: (offset) => offset, write: (offset, _width, value) => written.push([offset, value]) });
  card.addBar({ index: 4, kind: 'memory64', size: 0x4000, prefetchable: true, read: () => 0x1234_5678, write: () => {} });
  card.addMsix(3, 1);
  card.addMsi();
  const resetControl = new ResetControl(false);
  resetControl.attach(board.wiring);
  host = new PciHost({ resetControl });
  host.add(4, card);
});

const assign = () => assignPciResources(host, { ioBase: 0xc000, ioLimit: 0x1_0000, memoryBase: 0xe000_0000, memoryLimit: 0xfec0_0000 });

describe('pc', () => {
  beforeEach(() => {
    addI440Fx(host);
    host.attach(board.wiring);
    host.reset();
  });

  it('answers configuration mechanism 1, and resets at 0xcf9', () => {
    expect(get(0, 0)).toBe(0x1237_8086);
    expect(get(1, 0)).toBe(0x7000_8086);
    expect(get(9, 0)).toBe(0xffff_ffff);
    expect(get(4, 2, 2)).toBe(0x1000);
    board.out(0xcf9, 6);
    expect(board.edgeCount('reset')).toBe(1);
    expect(board.in(0xcf8, 4) >>> 31).toBe(1);
  });

  it('sizes and moves BARs, and decodes only when enabled', () => {
    put(4, 0x10, 0xffff_ffff);
    expect(get(4, 0x10)).toBe(0xffff_ffc1);
    put(4, 0x20, 0xffff_ffff);
    put(4, 0x24, 0xffff_ffff);
    expect([get(4, 0x20), get(4, 0x24)]).toEqual([0xffff_c00c, 0xffff_ffff]);
    put(4, 0x10, 0xc101);
    expect(board.in(0xc105)).toBe(0xff);
    put(4, 4, 1, 2);
    expect(board.in(0xc105)).toBe(5);
    put(4, 0x10, 0xd001);
    expect([board.in(0xc105), board.in(0xd005)]).toEqual([0xff, 5]);
    put(4, 0x20, 0x4000_0000);
    put(4, 0x24, 2);
    put(4, 4, 2, 2);
    expect(board.mmio.read(0x2_4000_0000, 4)).toBe(0x1234_5678);
    expect(board.in(0xd005)).toBe(0xff);
  });

  it('a BAR on top of another device stays off the bus until it can be there', () => {
    put(4, 4, 1, 2);
    put(4, 0x10, 0xcc1);
    expect(board.in(0xcf8, 4) >>> 31).toBe(1);
    put(4, 0x10, 0xc001);
    expect(board.in(0xc001)).toBe(1);
  });

  it('routes INTx by PIRQ, also when the route moves', () => {
    card.setIntx(1);
    expect(board.level('isa:11')).toBe(1);
    expect(get(4, 6, 2) & 8).toBe(8);
    put(1, 0x63, 5, 1);
    expect([board.level('isa:11'), board.level('isa:5')]).toEqual([0, 1]);
    put(4, 4, 0x400, 2);
    expect(board.level('isa:5')).toBe(0);
    put(4, 4, 0, 2);
    card.setIntx(0);
    expect(board.level('isa:5')).toBe(0);
  });

  it('MSI-X: masked vectors wait, enabling silences INTx', () => {
    assign();
    const capability = get(4, 0x34, 1);
    expect(get(4, capability, 1)).toBe(0x11);
    const table = get(4, 0x14) & ~15;
    const base = table >>> 0;
    card.setIntx(1);
    put(4, capability + 2, 0x8000, 2);
    expect(board.level('isa:11')).toBe(0);
    board.mmio.write(base + 16, 4, 0xfee0_0000);
    board.mmio.write(base + 24, 4, 0x51);
    expect(card.notify(1)).toBe(true);
    expect(board.messages).toEqual([]);
    expect(board.mmio.read(base + 0x800, 4)).toBe(2);
    board.mmio.write(base + 28, 4, 0);
    expect(board.messages).toEqual([{ address: 0xfee0_0000, data: 0x51 }]);
    expect(board.mmio.read(base + 0x800, 4)).toBe(0);
  });

  it('MSI', () => {
    const capability = get(4, get(4, 0x34, 1) + 1, 1);
    expect(get(4, capability, 1)).toBe(5);
    expect(card.notify(0)).toBe(false);
    put(4, capability + 4, 0xfee0_1000);
    put(4, capability + 12, 0x4041, 2);
    put(4, capability + 2, 1, 2);
    expect(card.notify(0)).toBe(true);
    expect(board.messages).toEqual([{ address: 0xfee0_1000, data: 0x4041 }]);
  });
});

describe('q35', () => {
  beforeEach(() => {
    addQ35(host);
    host.attach(board.wiring);
    host.reset();
    assign();
  });

  it('has ECAM, which PCIEXBAR moves', () => {
    expect(board.mmio.read(0xb000_0000, 4)).toBe(0x29c0_8086);
    expect(board.mmio.read(0xb000_0000 + (31 << 15), 4)).toBe(0x2918_8086);
    expect(board.mmio.read(0xb000_0000 + (4 << 15) + 0x100, 4)).toBe(0xffff_ffff);
    put(0, 0x60, 0x8000_0001);
    expect(board.mmio.read(0x8000_0000, 4)).toBe(0x29c0_8086);
    expect(board.mmio.read(0xb000_0000, 4)).toBe(0xffff_ffff);
  });

  it('routes slot 4 INTA to GSI 20, and by its route register to the PIC', () => {
    card.setIntx(1);
    expect(board.level('gsi:20')).toBe(1);
    put(31, 0x68, 10, 1);
    expect(board.level('isa:10')).toBe(1);
    card.setIntx(0);
    expect([board.level('gsi:20'), board.level('isa:10')]).toEqual([0, 0]);
  });
});

it('leaves it to firmware where power management of a bare pc goes', () => {
  const board = new TestBoard();
  const host = new PciHost({});
  host.attach(board.wiring);
  const pm = new AcpiPm({ chip: 'piix4' });
  pm.attach(board.wiring);
  addI440Fx(host, { pm, bare: true });
  const piix4 = host.functions[(1 << 3) | 3]!;
  expect([piix4.readConfig(0x40, 4), piix4.readConfig(0x80, 1)]).toEqual([1, 0]);
  piix4.writeConfig(0x40, 4, 0xb001);
  piix4.writeConfig(0x80, 1, 1);
  expect(pm.base).toBe(0xb000);
});
