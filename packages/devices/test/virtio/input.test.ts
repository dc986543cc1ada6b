import { describe, expect, it } from 'vitest';
import { VirtioInput } from '../../src/virtio/index.js';
import type { DriverBuffer, VirtioDriver } from '../../src/virtio/testing/index.js';
import { Bench, ways } from './bench.js';

const wide = ways.filter(({ transport }) => transport !== 'legacy');

/** Puts rooms for events up. */
function putRooms(driver: VirtioDriver, count: number): DriverBuffer[] {
  const rooms = Array.from({ length: count }, () => driver.room(8));
  for (const room of rooms) driver.queues[0]!.add([room]);
  driver.kick(0);
  return rooms;
}

/** The events that have come: type, code, value. */
function takeEvents(driver: VirtioDriver, rooms: DriverBuffer[]): number[][] {
  const events: number[][] = [];
  for (let used = driver.queues[0]!.poll(); used; used = driver.queues[0]!.poll()) {
    const view = new DataView(driver.contents([rooms.shift()!]).buffer);
    events.push([view.getUint16(0, true), view.getUint16(2, true), view.getInt32(4, true)]);
  }
  return events;
}

describe.each(wide)('virtio-input over $transport, packed $packed', (way) => {
  const start = (kind: 'keyboard' | 'mouse' | 'tablet', onLight?: (light: number, on: boolean) => void) => {
    const device = new VirtioInput({ kind, packed: way.packed, serial: 'S1', ...(onLight ? { onLight } : {}) });
    const bench = new Bench(device, way);
    const driver = bench.start(2);
    const ask = (select: number, subsel = 0): number[] => {
      bench.transport.writeConfig(0, 1, select);
      bench.transport.writeConfig(1, 1, subsel);
      return Array.from({ length: bench.transport.readConfig(2, 1) }, (_, i) => bench.transport.readConfig(8 + i, 1));
    };
    return { device, bench, driver, ask };
  };
  const textOf = (bytes: number[]): string => String.fromCharCode(...bytes);

  it('says what it is', () => {
    const { ask } = start('tablet');
    expect(textOf(ask(1))).toBe('Nestvm virtio tablet');
    expect(textOf(ask(2))).toBe('S1');
    expect(ask(3)).toEqual([6, 0, 0xf4, 0x1a, 3, 0, 1, 0]);
    expect(ask(0x10)).toEqual([1]);
    expect(ask(0x11, 3)).toEqual([3]);
    expect(ask(0x12, 0)).toEqual([0, 0, 0, 0, 0xff, 0x7f, 0, 0, ...Array.from({ length: 12 }, () => 0)]);
    // No size: not there.
    for (const [select, subsel] of [
      [0x12, 5],
      [0x11, 0x14],
      [0x10, 1],
      [0, 0],
      [0x77, 0],
    ] as const)
      expect(ask(select, subsel)).toEqual([]);
  });

  it('reports keys, and ends each report', () => {
    const { device, driver } = start('keyboard');
    const rooms = putRooms(driver, 8);
    expect(device.report([{ kind: 'key', key: 'KeyA', down: true }])).toBe(true);
    expect(device.report([{ kind: 'key', key: 'ArrowUp', down: false }])).toBe(true);
    expect(takeEvents(driver, rooms)).toEqual([
      [1, 30, 1],
      [0, 0, 0],
      [1, 103, 0],
      [0, 0, 0],
    ]);
    expect(device.report([{ kind: 'move', dx: 1, dy: 1 }])).toBe(false);
    expect(device.report([{ kind: 'key', key: 'NoSuchKey', down: true }])).toBe(false);
  });

  it('keeps reports until there is room, but not for ever', () => {
    const { device, driver, bench } = start('mouse');
    for (let i = 0; i < 1000; i++) device.report([{ kind: 'move', dx: -i, dy: 2 }]);
    const saved: unknown = JSON.parse(JSON.stringify(bench.carrier.save()));
    bench.carrier.load(saved);
    const rooms = putRooms(driver, 32);
    const events = takeEvents(driver, rooms);
    expect(events.slice(0, 5)).toEqual([
      [2, 1, 2],
      [0, 0, 0],
      [2, 0, -1],
      [2, 1, 2],
      [0, 0, 0],
    ]);
    expect(events.length).toBe(32);
  });

  it('loses whole reports, and never a part of one, when buffers are missing', () => {
    const { device, driver } = start('mouse');
    for (let i = 1; i < 1000; i++) device.report([{ kind: 'move', dx: i, dy: i }]);
    const rooms: DriverBuffer[] = [];
    const events: number[][] = [];
    for (let more = true; more; ) {
      rooms.push(...putRooms(driver, 8));
      const fresh = takeEvents(driver, rooms);
      events.push(...fresh);
      more = fresh.length > 0;
    }
    expect(events.length % 3).toBe(0);
    expect(events.length).toBeLessThan(3 * 999);
    for (let at = 0; at < events.length; at += 3) {
      const moved = at / 3 + 1;
      expect(events.slice(at, at + 3)).toEqual([
        [2, 0, moved],
        [2, 1, moved],
        [0, 0, 0],
      ]);
    }
  });

  it('places a tablet, bounded', () => {
    const { device, driver } = start('tablet');
    const rooms = putRooms(driver, 8);
    device.report([
      { kind: 'place', x: 40_000, y: -1 },
      { kind: 'button', button: 'left', down: true },
      { kind: 'wheel', steps: -1 },
    ]);
    expect(takeEvents(driver, rooms)).toEqual([
      [3, 0, 0x7fff],
      [3, 1, 0],
      [1, 0x110, 1],
      [2, 8, -1],
      [0, 0, 0],
    ]);
  });

  it('switches lights', () => {
    const lights: string[] = [];
    const { driver } = start('keyboard', (light, on) => lights.push(`${light} ${on}`));
    driver.request(1, [Uint8Array.of(0x11, 0, 1, 0, 1, 0, 0, 0)], []);
    driver.request(1, [Uint8Array.of(0x11, 0, 1, 0, 0, 0, 0, 0)], []);
    driver.request(1, [Uint8Array.of(1, 2)], []);
    expect(lights).toEqual(['1 true', '1 false']);
  });

  it('wants room for a whole event', () => {
    const { device, driver } = start('keyboard');
    driver.queues[0]!.add([driver.room(4)]);
    driver.kick(0);
    device.report([{ kind: 'key', key: 'KeyA', down: true }]);
    expect(device.violation?.clause).toBe('device-request');
  });
});
