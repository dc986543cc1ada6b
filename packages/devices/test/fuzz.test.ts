import { type Device, type Width } from '@nestvm/bus';
import { describe, expect, it } from 'vitest';
import {
  AcpiPm,
  ApicBus,
  addI440Fx,
  addQ35,
  assignPciResources,
  FwCfg,
  Hpet,
  I8042,
  IoApic,
  initializeLikeFirmware,
  LocalApic,
  PciFunction,
  PciHost,
  Pic,
  Pit,
  Port92,
  ResetControl,
  Rtc,
  TestDevice,
  Uart,
} from '../src/platform/index.js';
import type { SavableDevice } from '../src/saved-state.js';
import { random, TestBoard } from './board.js';

/** A whole board of either chipset, as a machine would put it together. */
class Board extends TestBoard {
  readonly pic = new Pic();
  readonly bus = new ApicBus();
  readonly apics: LocalApic[];
  readonly units = new Map<string, SavableDevice<unknown>>();
  readonly devices: Device[] = [];

  constructor(chipset: 'i440fx' | 'q35') {
    super();
    this.apics = [0, 1].map((id) => new LocalApic({ id, bsp: id === 0, bus: this.bus, clock: this.clock, pic: this.pic }));
    this.pic.setOutput((level) => this.bus.setPicOutput(level));
    const ioApic = new IoApic({ bus: this.bus });
    const wiring = this.routed({ pic: this.pic, ioApic });
    const pit = new Pit();
    const rtc = new Rtc({ epochSeconds: 1_700_000_000 });
    const setLegacy = (on: boolean) => [pit, rtc].forEach((device) => device.setInterruptEnabled(!on));
    const hpet = new Hpet({ onLegacyReplacement: setLegacy });
    const resetControl = new ResetControl(false);
    const pm = new AcpiPm({ chip: chipset === 'q35' ? 'ich9' : 'piix4' });
    const host = new PciHost({ resetControl });
    if (chipset === 'q35') addQ35(host, { pm });
    else addI440Fx(host, { pm });
    const card = new PciFunction({ name: 'card', vendor: 0x1234, device: 0x5678, classCode: 0xff_0000, interruptPin: 1 });
    card.addBar({ index: 0, kind: 'io', size: 64, read: () => 0, write: () => card.setIntx(card.messagesEnabled ? 0 : 1) });
    card.addBar({ index: 2, kind: 'memory64', size: 0x4000, read: () => 0, write: (offset) => void card.notify(offset & 3) });
    card.addMsix(4, 1);
    card.addMsi();
    host.add(3, card);
    const rest = [
      new Uart({ name: 'com1', base: 0x3f8, line: 'isa:4' }),
      new I8042(),
      new Port92(),
      new TestDevice(),
      new FwCfg({ ramBytes: 1 << 20 }),
    ];
    this.devices.push(this.bus, this.pic, ioApic, pit, rtc, hpet, resetControl, pm, host, ...rest);
    for (const device of this.devices) device.attach(wiring);
    for (const device of this.devices) device.reset();
    initializeLikeFirmware(this.ports, { pci: true });
    assignPciResources(host, { ioBase: 0xc000, ioLimit: 0x1_0000, memoryBase: 0xc000_0000, memoryLimit: 0xfec0_0000 });
    for (const device of this.devices) if ('save' in device) this.units.set(device.name, device as unknown as SavableDevice<unknown>);
    for (const apic of this.apics) this.units.set(apic.name, apic);
    for (const pciFunction of host.functions) if (pciFunction) this.units.set(pciFunction.name, pciFunction);
  }

  saveAll(): string {
    return JSON.stringify(Object.fromEntries([...this.units].map(([name, unit]) => [name, unit.save()])));
  }

  /** In the order of the units, or in the opposite one: it must not matter. */
  loadAll(saved: string, backwards: boolean): void {
    const entries = Object.entries(JSON.parse(saved) as Record<string, unknown>);
    for (const [name, data] of backwards ? entries.reverse() : entries) this.units.get(name)?.load(data);
  }
}

const WIDTHS: Width[] = [1, 2, 4];

/** One random transaction: any claimed region, any offset and width; now and then time, interrupt acknowledgement, host input. Returns what was read. */
let touched = '';
function step(board: Board, next: (below: number) => number): number {
  const kind = next(64);
  if (kind < 2) board.clock.advanceTo(board.clock.nowNs() + next(3_000_000));
  else if (kind === 2) board.clock.advanceTo(Math.min(board.clock.nextDeadlineNs(), board.clock.nowNs() + 1e9));
  else if (kind === 3) {
    const apic = board.apics[next(2)];
    board.bus.setCurrent(() => apic);
    return apic.intr() ? apic.acknowledge() : -1;
  } else if (kind === 4) {
    const apic = board.apics[next(2)];
    return [apic.takeNmi(), apic.takeSmi(), apic.takeInit(), apic.takeSipi() >= 0].filter(Boolean).length;
  } else if (kind === 5) {
    const apic = board.apics[next(2)];
    apic.msrLo = next(2 ** 32) | 0;
    apic.msrHi = next(8) === 0 ? next(2 ** 32) | 0 : 0;
    return Number(apic.writeMsr([0x1b, 0x6e0, 0x800 + next(64), 0x808, 0x80b, 0x830][next(6)]));
  }
  const space = next(3) === 0 ? board.mmio : board.ports;
  const regions = space.list();
  const region = regions[next(regions.length)];
  const width = WIDTHS[next(3)];
  touched = region.name;
  const address = region.base + next(next(4) === 0 ? region.size : Math.min(region.size, 0x40));
  if (next(2)) {
    const value = space.read(address, width);
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * width)) throw new Error(`${region.name} +${address - region.base} read ${value}`);
    return value;
  }
  space.write(address, width, [next(2 ** 32), next(256), 0, 2 ** 32 - 1, 1 << next(31)][next(5)] % 2 ** (8 * width));
  return 0;
}

/** Compares two boards unit by unit, naming the first difference briefly. */
function expectSame(one: Board, other: Board): void {
  for (const [name, unit] of one.units) {
    const [left, right] = [unit.save(), other.units.get(name)?.save()].map((state) => Object.entries(state as object)) as [string, unknown][][];
    left.forEach(([key, value], index) => {
      const [was, is] = [JSON.stringify(right[index][1]), JSON.stringify(value)];
      if (was !== is) throw new Error(`${name}.${key}: ${is.slice(0, 300)} instead of ${was.slice(0, 300)}`);
    });
  }
}

const OPERATIONS = Number(globalThis.process?.env['NESTVM_FUZZ_OPERATIONS'] ?? 600_000);

describe.each(['i440fx', 'q35'] as const)('a guest that touches everything at random (%s)', (chipset) => {
  it(`never makes the board throw or hang in ${OPERATIONS} operations`, () => {
    const board = new Board(chipset);
    const next = random(chipset === 'q35' ? 0x1234567 : 0x7654321);
    let answers = 0;
    for (let i = 0; i < OPERATIONS; i++) {
      if (step(board, next) !== 0) answers++;
      if (i % 1000 === 0) board.clock.advanceTo(board.clock.nowNs() + 1_000_000_000);
      board.messages.length = 0;
    }
    // The run would prove little if nobody had answered.
    expect(answers).toBeGreaterThan(OPERATIONS / 10);
    console.log(`fuzz ${chipset}: ${OPERATIONS} operations, ${board.ports.list().length + board.mmio.list().length} regions`);
  });

  it('behaves the same after save and load at any moment', () => {
    for (let round = 1; round <= 60; round++) {
      const first = new Board(chipset);
      const warm = random(round * 7919);
      const steps = 200 + warm(2000);
      for (let i = 0; i < steps; i++) step(first, warm);
      const second = new Board(chipset);
      const saved = first.saveAll();
      second.clock.restore(first.clock.nowNs());
      second.loadAll(saved, round % 2 === 0);
      expectSame(second, first);
      first.bus.setCurrent(() => first.apics[0]);
      second.bus.setCurrent(() => second.apics[0]);
      const seed = warm(2 ** 31);
      const one = random(seed);
      const two = random(seed);
      for (let i = 0; i < 400; i++) {
        expect(first.mmio.list()).toEqual(second.mmio.list());
        expect(`${step(second, two)} at ${i}: ${touched}`).toBe(`${step(first, one)} at ${i}: ${touched}`);
        if (i % 50 === 0) expectSame(second, first);
      }
    }
  }, 900_000);

  it('refuses damaged state by name and keeps running', () => {
    const board = new Board(chipset);
    const next = random(99);
    for (let round = 0; round < 2000; round++) {
      const names = [...board.units.keys()];
      const name = names[next(names.length)];
      const unit = board.units.get(name) as SavableDevice<unknown>;
      const data = JSON.parse(JSON.stringify(unit.save())) as Record<string, unknown>;
      const keys = Object.keys(data);
      const key = keys[next(keys.length)];
      data[key] = [undefined, -1, 2 ** 60, 'x', null, [], {}, Number.NaN, 1.5][next(9)];
      try {
        unit.load(data);
      } catch (error) {
        expect((error as { code?: string }).code).toBe('bad-state');
      }
      step(board, next);
    }
  });
});
