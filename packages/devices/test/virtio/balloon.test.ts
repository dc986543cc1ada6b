import { describe, expect, it } from 'vitest';
import { BalloonQueue } from '../../src/virtio/balloon/registers.js';
import { VirtioBalloon, type VirtioBalloonOptions } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { Bench, ways } from './bench.js';

const PAGE = 4096;
const word = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

/** Statistics as a driver writes them. */
function statistics(entries: readonly (readonly [tag: number, value: bigint])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(10 * entries.length));
  entries.forEach(([tag, value], i) => {
    view.setUint16(10 * i, tag, true);
    view.setBigUint64(10 * i + 2, value, true);
  });
  return new Uint8Array(view.buffer);
}

describe.each(ways)('virtio-balloon over $transport, packed $packed', (way) => {
  const start = (options: VirtioBalloonOptions = {}, features = [1, 2, 3, 4, 5]) => {
    const device = new VirtioBalloon({ packed: way.packed, ...options });
    const bench = new Bench(device, way);
    return { device, bench, driver: bench.start(5, { features }) };
  };
  /** Pages full of ones, and whether they are still. */
  const pages = (driver: VirtioDriver, count: number) => {
    const address = driver.memory.allocate(count * PAGE, PAGE);
    driver.memory.bytes.fill(0xff, address - driver.memory.base, address - driver.memory.base + count * PAGE);
    const byte = (page: number, offset = 0) => driver.memory.view(address + page * PAGE + offset, 1)![0]!;
    return { address, byte, last: (page: number) => byte(page, PAGE - 1) };
  };

  it('asks for pages, and hears of those that were given', () => {
    const { device, bench } = start();
    const heard: number[] = [];
    device.onChange = (actual) => heard.push(actual);
    device.target = 300;
    expect(bench.transport.takeInterrupts() & 2).toBe(2);
    expect(bench.transport.readConfig(0, 4)).toBe(300);
    [44, 1, 0, 0].forEach((byte, i) => bench.transport.writeConfig(4 + i, 1, byte));
    expect([heard, device.actual]).toEqual([[300], 300]);
    bench.transport.writeConfig(0, 4, 7);
    bench.transport.writeConfig(8, 4, 7);
    expect([device.target, bench.transport.readConfig(8, 4)]).toEqual([300, 0]);
    device.target = 300;
    expect(bench.transport.takeInterrupts()).toBe(0);
  });

  it('clears what goes into the balloon, and nothing else', () => {
    const { device, driver } = start();
    const room = pages(driver, 4);
    const first = room.address / PAGE;
    driver.request(BalloonQueue.INFLATE, [word(first, first + 2, 0xffff_ffff)], []);
    expect([0, 1, 2, 3].map((page) => [room.byte(page), room.last(page)])).toEqual([
      [0, 0],
      [255, 255],
      [0, 0],
      [255, 255],
    ]);
    driver.request(BalloonQueue.DEFLATE, [word(first + 1)], []);
    expect(room.byte(1)).toBe(255);
    expect([device.clearedBytes, device.violation]).toEqual([2 * PAGE, undefined]);
  });

  it('keeps a buffer of statistics until it wants others', () => {
    const { device, bench, driver } = start();
    const queue = driver.queues[BalloonQueue.STATISTICS]!;
    expect(device.requestStatistics()).toBe(false);
    const put = (bytes: Uint8Array): void => {
      queue.add([driver.place(bytes)]);
      driver.kick(BalloonQueue.STATISTICS);
    };
    put(
      statistics([
        [4, 0x1_0000_0001n],
        [5, 7n],
        [0, 0xffff_ffff_ffff_ffffn],
        [999, 1n],
      ]),
    );
    expect(device.statistics).toEqual({ 'free-memory': 0x1_0000_0001, 'total-memory': 7 });
    expect(queue.poll()).toBeUndefined();
    bench.carrier.load(JSON.parse(JSON.stringify(bench.carrier.save())));
    expect(device.requestStatistics()).toBe(true);
    expect(queue.poll()?.written).toBe(0);
    expect(device.requestStatistics()).toBe(false);
    put(statistics([[6, 5n]]));
    expect(device.statistics).toEqual({ 'available-memory': 5 });
  });

  it('clears reported pages, to the poison that the driver wants', () => {
    const { bench, driver } = start();
    const room = pages(driver, 3);
    const report = (page: number): void => {
      driver.queues[BalloonQueue.REPORT]!.add([{ address: room.address + page * PAGE, length: PAGE, writable: true }]);
      driver.kick(BalloonQueue.REPORT);
      expect(driver.queues[BalloonQueue.REPORT]!.poll()?.written).toBe(0);
    };
    report(0);
    bench.transport.writeConfig(12, 4, 0x44332211);
    report(1);
    expect([room.byte(0), room.byte(1), room.byte(1, 1), room.last(1), room.byte(2)]).toEqual([0, 0x11, 0x22, 0x44, 255]);
  });

  it('clears hinted pages of the round it asked for, until it ends that', () => {
    const { device, bench, driver } = start();
    const room = pages(driver, 3);
    const hint = (page: number): void => {
      driver.queues[BalloonQueue.HINT]!.add([{ address: room.address + page * PAGE, length: PAGE, writable: true }]);
      driver.kick(BalloonQueue.HINT);
      expect(driver.queues[BalloonQueue.HINT]!.poll()).toBeDefined();
    };
    expect(device.startHinting()).toBe(true);
    const round = bench.transport.readConfig(8, 4);
    expect([round, device.hinted]).toEqual([2, false]);
    hint(0);
    driver.request(BalloonQueue.HINT, [word(round)], []);
    hint(1);
    expect(device.hinted).toBe(false);
    driver.request(BalloonQueue.HINT, [word(0)], []);
    expect([device.hinted, room.byte(0), room.byte(1)]).toEqual([true, 255, 0]);
    driver.request(BalloonQueue.HINT, [word(round)], []);
    device.endHinting();
    expect(bench.transport.readConfig(8, 4)).toBe(1);
    hint(2);
    expect(room.byte(2)).toBe(255);
  });

  it('takes reports in the queue that drivers without hints use', () => {
    const { device, driver } = start({ freePageHint: false });
    const room = pages(driver, 1);
    expect(device.startHinting()).toBe(false);
    driver.queues[BalloonQueue.HINT]!.add([{ address: room.address, length: PAGE, writable: true }]);
    driver.kick(BalloonQueue.HINT);
    expect(room.byte(0)).toBe(0);
  });

  it.each([
    ['pages to write', BalloonQueue.INFLATE, [], [8]],
    ['a piece of a number', BalloonQueue.DEFLATE, [new Uint8Array(3)], []],
    ['a report that can be read', BalloonQueue.REPORT, [new Uint8Array(4)], []],
    ['a long command', BalloonQueue.HINT, [new Uint8Array(5)], []],
  ] as const)('asks for a reset after %s', (_, queue, readable, rooms) => {
    const { device, driver } = start();
    expect(() => driver.request(queue, [...readable], [...rooms])).toThrow('has not answered');
    expect(device.violation?.clause).toBe('device-request');
  });

  it('offers DEFLATE_ON_OOM only when it is wanted, and keeps the target over a reset', () => {
    expect(new VirtioBalloon().readFeatures(0) & 4).toBe(0);
    const { device, bench } = start({ deflateOnOom: true });
    expect(device.readFeatures(0) & 4).toBe(4);
    device.target = 9;
    bench.transport.status = 0;
    expect([device.target, device.actual]).toEqual([9, 0]);
  });
});
