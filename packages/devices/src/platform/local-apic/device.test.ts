import { beforeEach, describe, expect, it } from 'vitest';
import { TestBoard } from '../../../test/board.js';
import { initializeLikeFirmware } from '../firmware.js';
import { IoApic } from '../io-apic/device.js';
import { Pic } from '../pic/device.js';
import { ApicBus } from './bus.js';
import { LocalApic } from './device.js';

const BASE = 0xfee0_0000;
let board: TestBoard;
let bus: ApicBus;
let pic: Pic;
let apics: LocalApic[];
let current: number;

beforeEach(() => {
  board = new TestBoard();
  bus = new ApicBus(() => apics[current]);
  pic = new Pic();
  apics = [0, 1, 2, 3].map((id) => new LocalApic({ id, bsp: id === 0, bus, clock: board.clock, pic }));
  pic.setOutput((level) => bus.setPicOutput(level));
  bus.attach(board.wiring);
  pic.attach(board.wiring);
  for (current = 3; current >= 0; current--) write(0xf0, 0x1ff);
  current = 0;
});

const read = (register: number) => board.mmio.read(BASE + register, 4);
const write = (register: number, value: number) => board.mmio.write(BASE + register, 4, value);
const wrmsr = (apic: LocalApic, index: number, lo: number, hi = 0) => {
  apic.msrLo = lo;
  apic.msrHi = hi;
  return apic.writeMsr(index);
};
const rdmsr = (apic: LocalApic, index: number) => (apic.readMsr(index) ? apic.msrLo >>> 0 : 'fault');

it('an output of the PIC that rose behind a masked LINT0 is an interrupt as soon as that is unmasked', () => {
  let wakes = 0;
  write(0x350, 0x1_0700);
  apics[0].setWake(() => wakes++);
  // Edge-triggered, vectors from 20h on, cascade at 2, 8086 mode; IRQ 0 alone is unmasked.
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x20],
    [0x21, 4],
    [0x21, 1],
    [0x21, 0xfe],
  ] as const)
    board.ports.write(port, 1, value);
  pic.setInput(0, 1);
  pic.setInput(0, 0);
  pic.setInput(0, 1);
  expect([apics[0].intr(), wakes]).toEqual([false, 0]);
  write(0x350, 0x700);
  expect([apics[0].intr(), wakes]).toEqual([true, 1]);
  expect(apics[0].acknowledge()).toBe(0x20);
});

describe('interrupts', () => {
  it('go by priority, hold back their class, and end in order', () => {
    const apic = apics[0];
    for (const vector of [0x31, 0x52, 0x55, 0x24]) apic.accept(0, vector, false);
    expect(apic.acknowledge()).toBe(0x55);
    expect(apic.intr()).toBe(false);
    apic.accept(0, 0x60, false);
    expect(apic.acknowledge()).toBe(0x60);
    expect(read(0xa0)).toBe(0x60);
    write(0xb0, 0);
    write(0xb0, 0);
    expect(apic.acknowledge()).toBe(0x52);
    write(0x80, 0x40);
    write(0xb0, 0);
    expect(apic.intr()).toBe(false);
    apic.writeTpr(2);
    expect(apic.readTpr()).toBe(2);
    expect(apic.acknowledge()).toBe(0x31);
  });

  it('are dropped while software has disabled the APIC; NMI is not', () => {
    write(0xf0, 0xff);
    apics[0].accept(0, 0x40, false);
    apics[0].accept(4, 0, false);
    expect(apics[0].intr()).toBe(false);
    expect([apics[0].takeNmi(), apics[0].takeNmi()]).toEqual([true, false]);
    expect(read(0x350) & 0x1_0000).toBe(0x1_0000);
  });

  it('wake the CPU', () => {
    let woken = 0;
    apics[1].setWake(() => woken++);
    bus.send(0xfee0_1000, 0x41);
    expect(woken).toBe(1);
    expect(apics[1].acknowledge()).toBe(0x41);
  });

  it('report illegal vectors once, by the error entry', () => {
    write(0x370, 0xfe);
    write(0x300, 0x4_0005);
    expect(apics[0].acknowledge()).toBe(0xfe);
    write(0x280, 0);
    expect(read(0x280)).toBe(0x20);
    write(0x280, 0);
    expect(read(0x280)).toBe(0);
  });
});

describe('inter-processor interrupts', () => {
  const taken = () => apics.map((apic) => (apic.intr() ? apic.acknowledge() : 0));
  it('reach one id, everybody, everybody else, oneself', () => {
    write(0x310, 2 << 24);
    write(0x300, 0x41);
    expect(taken()).toEqual([0, 0, 0x41, 0]);
    write(0x300, 0x8_0052);
    expect(taken()).toEqual([0x52, 0x52, 0x52, 0x52]);
    write(0x300, 0xc_0063);
    expect(taken()).toEqual([0, 0x63, 0x63, 0x63]);
    write(0x300, 0x4_0074);
    expect(taken()).toEqual([0x74, 0, 0, 0]);
  });

  it('logical flat and cluster destinations', () => {
    for (current = 0; current < 4; current++) write(0xd0, (1 << current) << 24);
    current = 0;
    write(0x310, 0b1010 << 24);
    write(0x300, 0x841);
    expect(taken()).toEqual([0, 0x41, 0, 0x41]);
    for (current = 0; current < 4; current++) {
      write(0xe0, 0);
      write(0xd0, (((current >> 1) << 4) | (1 << (current & 1))) << 24);
    }
    current = 0;
    write(0x310, 0x12 << 24);
    write(0x300, 0x892);
    expect(taken()).toEqual([0, 0, 0, 0x92]);
  });

  it('lowest priority goes to the least busy', () => {
    for (current = 0; current < 4; current++) write(0xd0, (1 << current) << 24);
    apics[0].writeTpr(5);
    apics[1].writeTpr(3);
    apics[2].writeTpr(1);
    apics[3].writeTpr(2);
    bus.deliver(0xff, false, true, 1, 0x91, false);
    expect(taken()).toEqual([0, 0, 0x91, 0]);
  });

  it('INIT and start-up wake an application processor; a second start-up is ignored', () => {
    write(0x310, 1 << 24);
    write(0x300, 0x4500);
    write(0x300, 0x8500);
    write(0x300, 0x4609);
    expect(apics[1].takeInit()).toBe(true);
    expect(apics[1].takeSipi()).toBe(9);
    write(0x300, 0x4609);
    expect(apics[1].takeSipi()).toBe(-1);
    apics[0].accept(5, 0, false);
    expect(apics[0].takeInit()).toBe(true);
    apics[0].accept(6, 3, false);
    expect(apics[0].takeSipi()).toBe(-1);
  });
});

describe('timer', () => {
  it('one-shot counts at 1 GHz through the divider', () => {
    write(0x3e0, 3);
    write(0x320, 0xec);
    write(0x380, 1000);
    board.run(8000);
    expect(read(0x390)).toBe(500);
    expect(apics[0].intr()).toBe(false);
    board.run(8000);
    expect(apics[0].acknowledge()).toBe(0xec);
    expect(read(0x390)).toBe(0);
    write(0xb0, 0);
    board.run(1_000_000);
    expect(apics[0].intr()).toBe(false);
  });

  it('one-shot fires when time has passed its end before it is armed, as on a host clock', () => {
    let now = 0;
    board.clock.setSource(() => (now += 300));
    write(0x3e0, 0x0b);
    write(0x320, 0x40);
    write(0x380, 15);
    board.clock.advanceTo((now += 300));
    expect(apics[0].acknowledge()).toBe(0x40);
    write(0xb0, 0);
    board.clock.advanceTo((now += 1_000_000));
    expect(apics[0].intr()).toBe(false);
  });

  it('one-shot that ran out while masked stays silent when unmasked', () => {
    write(0x3e0, 0x0b);
    write(0x320, 0x1_0040);
    write(0x380, 100);
    board.run(1000);
    write(0x320, 0x40);
    board.run(1000);
    expect(apics[0].intr()).toBe(false);
    write(0x320, 0x1_0040);
    write(0x380, 1000);
    board.run(500);
    write(0x320, 0x40);
    board.run(600);
    expect(apics[0].intr()).toBe(true);
  });

  it('periodic keeps its phase', () => {
    write(0x3e0, 0xb);
    write(0x320, 0x2_00ec);
    write(0x380, 1_000_000);
    let count = 0;
    for (let i = 0; i < 100; i++) {
      board.run(1_000_000);
      if (apics[0].intr()) count++;
      apics[0].acknowledge();
      write(0xb0, 0);
    }
    expect(count).toBe(100);
    write(0x320, 0x3_00ec);
    expect(board.clock.nextDeadlineNs()).toBe(Infinity);
    board.run(500_000);
    expect(read(0x390)).toBe(500_000);
  });

  it('TSC deadline follows the guest TSC and fires once, at once when past', () => {
    const apic = apics[0];
    write(0x320, 0x4_00ec);
    apic.timer.tscOffset = () => 1000;
    expect(wrmsr(apic, 0x6e0, 51_000)).toBe(true);
    board.run(49_999);
    expect(apic.intr()).toBe(false);
    board.run(1);
    expect(apic.acknowledge()).toBe(0xec);
    expect(rdmsr(apic, 0x6e0)).toBe(0);
    write(0xb0, 0);
    wrmsr(apic, 0x6e0, 5);
    board.run(1);
    expect(apic.acknowledge()).toBe(0xec);
    wrmsr(apic, 0x6e0, -1, -1);
    expect(board.run(1_000_000_000)).toBe(0);
  });

  it('survives a period of one nanosecond', () => {
    write(0x3e0, 0xb);
    write(0x320, 0x2_00ec);
    write(0x380, 1);
    expect(board.run(1_000_000)).toBeLessThan(1000);
  });
});

describe('modes', () => {
  it('x2APIC: ids, logical ids, 64-bit ICR, reserved bits, legal transitions', () => {
    const apic = apics[1];
    const base = rdmsr(apic, 0x1b) as number;
    expect(base).toBe(0xfee0_0800);
    expect(wrmsr(apic, 0x1b, base | 0x400)).toBe(true);
    expect(rdmsr(apic, 0x802)).toBe(1);
    expect(rdmsr(apic, 0x80d)).toBe(2);
    expect(rdmsr(apic, 0x80e)).toBe('fault');
    expect(wrmsr(apic, 0x80b, 1)).toBe(false);
    expect(wrmsr(apic, 0x808, 0x100)).toBe(false);
    expect(wrmsr(apic, 0x830, 0x4500 | 0x1000)).toBe(false);
    expect(wrmsr(apic, 0x830, 0x41, 3)).toBe(true);
    expect(apics[3].acknowledge()).toBe(0x41);
    expect(wrmsr(apic, 0x83f, 0x77)).toBe(true);
    expect(apic.acknowledge()).toBe(0x77);
    expect(wrmsr(apic, 0x1b, base)).toBe(false);
    expect(wrmsr(apic, 0x1b, 0xfee0_0000)).toBe(true);
    expect(wrmsr(apic, 0x1b, base | 0x400)).toBe(false);
    expect(wrmsr(apic, 0x1b, base)).toBe(true);
    expect(wrmsr(apic, 0x1b, base | 1)).toBe(false);
    expect(wrmsr(apic, 0x1b, base, 0x100)).toBe(false);
  });

  it('the register page moves with its base', () => {
    expect(wrmsr(apics[0], 0x1b, 0xd000_0900 | 0)).toBe(true);
    expect(board.mmio.read(0xd000_0030, 4)).toBe(0x5_0014);
    expect(read(0x30)).toBe(0xffff_ffff);
    current = 1;
    expect(read(0x20)).toBe(1 << 24);
  });
});

describe('with the PIC and an I/O APIC', () => {
  it('ExtINT passes through LINT0 until it is masked', () => {
    initializeLikeFirmware(board.ports, { pit: false });
    board.out(0x21, 0);
    write(0x350, 0x700);
    pic.setInput(3, 1);
    expect(apics[0].intr()).toBe(true);
    write(0x350, 0x1_0700);
    expect(apics[0].intr()).toBe(false);
    write(0x350, 0x700);
    expect(apics[0].acknowledge()).toBe(11);
    expect(apics[0].intr()).toBe(false);
  });

  it('level pins wait for EOI, come back while high, edges are single', () => {
    const ioApic = new IoApic({ bus });
    ioApic.attach(board.wiring);
    const entry = (pin: number, low: number) => {
      board.mmio.write(0xfec0_0000, 4, 0x10 + 2 * pin);
      board.mmio.write(0xfec0_0010, 4, low);
      return () => {
        board.mmio.write(0xfec0_0000, 4, 0x10 + 2 * pin);
        return board.mmio.read(0xfec0_0010, 4);
      };
    };
    const look = entry(10, 0x8061);
    ioApic.setInput(10, 1);
    expect(look() & 0x4000).toBe(0x4000);
    expect(apics[0].acknowledge()).toBe(0x61);
    expect(apics[0].intr()).toBe(false);
    write(0xb0, 0);
    expect(apics[0].acknowledge()).toBe(0x61);
    ioApic.setInput(10, 0);
    write(0xb0, 0);
    expect(apics[0].intr()).toBe(false);
    expect(look() & 0x4000).toBe(0);
    entry(4, 0x1_0044);
    ioApic.setInput(4, 1);
    ioApic.setInput(4, 0);
    entry(4, 0x44);
    expect(apics[0].intr()).toBe(false);
    ioApic.setInput(4, 1);
    expect(apics[0].acknowledge()).toBe(0x44);
    board.mmio.write(0xfec0_0000, 4, 1);
    expect(board.mmio.read(0xfec0_0010, 4)).toBe(0x17_0020);
  });
});
