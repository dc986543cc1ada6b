import type { Device, Width } from '@nestvm/bus';
import {
  AcpiPm,
  ApicBus,
  addI440Fx,
  addQ35,
  assignPciResources,
  DebugConsole,
  DebugExit,
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
import { TestBoard } from './board.js';

/** A whole board of either chipset, as a machine would put it together. */
export class Board extends TestBoard {
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
      new DebugConsole({ write: () => {} }),
      new DebugExit({ base: 0x501, exit: () => {} }),
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

type Below = (limit: number) => number;

type Region = ReturnType<TestBoard['ports']['list']>[number];

/** What both spaces have, by name; a guest moves regions seldom, so that it is asked for now and then only. */
interface Chosen {
  readonly names: ReadonlySet<string>;
  readonly ports: Region[];
  readonly mmio: Region[];
  uses: number;
}
const USES = 32;
const chosen = new WeakMap<Board, Chosen>();

function regionsOf(board: Board, names: ReadonlySet<string>): Chosen {
  const known = chosen.get(board);
  if (known !== undefined && known.names === names && --known.uses > 0) return known;
  const [ports, mmio] = [board.ports, board.mmio].map((space) => space.list().filter(({ name }) => names.has(name))) as [Region[], Region[]];
  const fresh = { names, ports, mmio, uses: USES };
  chosen.set(board, fresh);
  return fresh;
}

/** A space and a region in it; of `only` these, if there are any. */
function chooseRegion(board: Board, next: Below, only?: ReadonlySet<string>): readonly [Board['ports'] | Board['mmio'], Region | undefined] {
  const inMmio = next(3) === 0;
  const first = inMmio ? board.mmio : board.ports;
  if (only === undefined) {
    const regions = first.list();
    return [first, regions[next(regions.length)]];
  }
  const { ports, mmio } = regionsOf(board, only);
  if (mmio.length > 0 && (inMmio || ports.length === 0)) return [board.mmio, mmio[next(mmio.length)]];
  return [board.ports, ports[next(Math.max(1, ports.length))]];
}

/** What the last step touched. */
export let touched = '';

/**
 * One random transaction: any claimed region, any offset and width; now and then time, interrupt acknowledgement, host input. Returns what was read. `only`: the
 * regions whose names it takes, if there are any now (a guest may move them away).
 */
export function step(board: Board, next: Below, only?: ReadonlySet<string>): number {
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
  const [space, region] = chooseRegion(board, next, only);
  if (region === undefined) return 0;
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
