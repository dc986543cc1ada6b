import { describe, expect, it } from 'vitest';
import { VirtioDevice, VirtioEntropy, VirtioFeature, VirtioPci, type Virtqueue } from '../../src/virtio/index.js';
import type { PciDriverTransport, VirtioDriver } from '../../src/virtio/testing/index.js';
import { Bench, ways } from './bench.js';

/** Answers with the sum of what it reads, in as many bytes as there is room for. */
class Adder extends VirtioDevice {
  constructor(packed: boolean, type = 2) {
    super({ name: 'adder', type, queues: [16, 16], features: [], configBytes: 8, packed });
  }
  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      let sum = 0;
      chain.visitReadable(0, chain.readableBytes, (bytes) => (sum = bytes.reduce((total, byte) => total + byte, sum)));
      const answer = new Uint8Array(chain.writableBytes).map((_, i) => sum >>> (8 * (i % 4)));
      queue.push(chain, chain.write(0, answer));
    }
    queue.publish();
  }
}

const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i & 255);

describe.each(ways)('a device over $transport, packed $packed', (way) => {
  const start = () => {
    const device = new Adder(way.packed);
    const bench = new Bench(device, way);
    return { device, bench, port: bench.transport };
  };
  const sum = (driver: VirtioDriver, parts: readonly Uint8Array[], rooms: readonly number[]): number[] => [...driver.request(0, parts, rooms).bytes];

  it('is new after a reset', () => {
    const { device, bench, port } = start();
    const driver = bench.start(2);
    sum(driver, [bytes(9)], [4]);
    expect(bench.level).toBe(1);
    port.status = 0;
    expect([port.status, bench.level, port.isEnabled(0), port.isEnabled(1), port.takeInterrupts()]).toEqual([0, 0, false, false, 0]);
    expect([device.accepted[0], device.accepted[1], device.queues[0]!.held.length]).toEqual([0, 0, 0]);
    driver.queues[0]!.add([driver.place(bytes(3)), driver.room(4)]);
    port.notify(0);
    expect(driver.queues[0]!.poll()).toBeUndefined();
    bench.memory.releaseAll();
    expect(sum(bench.start(1), [bytes(3)], [4])).toEqual([3, 0, 0, 0]);
  });

  it.each([false, true])('answers alike however a request is cut (indirect %s)', (indirect) => {
    const { bench } = start();
    const driver = bench.start(1, { indirect });
    const data = bytes(200);
    const whole = sum(driver, [data], [8]);
    const cuts = [[1], [100], [1, 2, 3, 4, 5], [199], [50, 100, 150]];
    for (const cut of cuts) {
      const places = [0, ...cut, data.length];
      const parts = places.slice(1).map((end, i) => data.subarray(places[i], end));
      for (const rooms of [[8], [1, 7], [1, 1, 1, 1, 4], [4, 4]]) expect(sum(driver, parts, rooms)).toEqual(whole);
    }
  });

  it.runIf(way.transport !== 'legacy')('takes a queue again after its reset, elsewhere and of another size', () => {
    const { bench, port } = start();
    const driver = bench.start(2, { queueSize: 16 });
    for (let i = 0; i < 40; i++) sum(driver, [bytes(i)], [4]);
    const before = driver.queues[0]!.descriptors;
    for (const size of [4, 16, 2]) {
      port.resetQueue(0);
      expect(port.isEnabled(0)).toBe(false);
      expect(port.queueSize(0)).toBe(16);
      expect(driver.setUp(0, size).descriptors).not.toBe(before);
      expect(port.isEnabled(0)).toBe(true);
      for (let i = 0; i < 3 * size; i++) expect(sum(driver, [bytes(3)], [4])).toEqual([3, 0, 0, 0]);
    }
    expect([...driver.request(1, [bytes(4)], [1]).bytes]).toEqual([6]);
  });

  it.runIf(way.transport !== 'legacy')('negotiates what belongs to no type, alone and all together', () => {
    const { device, bench } = start();
    const { INDIRECT_DESC, EVENT_IDX, ACCESS_PLATFORM, IN_ORDER, NOTIFICATION_DATA, RING_RESET } = VirtioFeature;
    const all = [INDIRECT_DESC, EVENT_IDX, ACCESS_PLATFORM, IN_ORDER, NOTIFICATION_DATA, RING_RESET];
    device.setOffered(ACCESS_PLATFORM, true);
    for (const features of [...all.map((feature) => [feature]), all, []]) {
      bench.memory.releaseAll();
      const driver = bench.start(2, { features, indirect: features.includes(INDIRECT_DESC) });
      for (const feature of all) expect(device.negotiated(feature)).toBe(features.includes(feature));
      for (let i = 0; i < 40; i++) expect(sum(driver, [bytes(2), bytes(3)], [2])).toEqual([4, 0]);
      expect(device.violation).toBeUndefined();
    }
  });

  it.runIf(way.transport !== 'legacy')('offers what it is told to', () => {
    const { device, bench } = start();
    const { EVENT_IDX, ACCESS_PLATFORM } = VirtioFeature;
    const offers = (bit: number): boolean => ((device.readFeatures(bit >>> 5) >>> (bit & 31)) & 1) === 1;
    expect([EVENT_IDX, ACCESS_PLATFORM].map(offers)).toEqual([true, false]);
    device.setOffered(EVENT_IDX, false);
    device.setOffered(ACCESS_PLATFORM, true);
    expect([EVENT_IDX, ACCESS_PLATFORM].map(offers)).toEqual([false, true]);
    expect(sum(bench.start(2, { features: [ACCESS_PLATFORM] }), [bytes(2), bytes(3)], [2])).toEqual([4, 0]);
  });

  it('ignores the write flag of a descriptor that points to a table', () => {
    const { bench } = start();
    const driver = bench.start(1, { indirect: true });
    const ring = driver.queues[0]!;
    const room = driver.room(4);
    ring.add([driver.place(bytes(5)), room]);
    const flags = ring.descriptors + (way.packed ? 14 : 12);
    driver.memory.setU16(flags, driver.memory.u16(flags) | 2);
    driver.kick(0);
    expect([ring.poll()?.written, driver.contents([room])[0], bench.device.violation]).toEqual([4, 10, undefined]);
  });
});

describe('registers of PCI', () => {
  it('keeps the registers of a queue, each with a place for notifications', () => {
    const bench = new Bench(new Adder(false), { transport: 'pci' });
    const port = bench.transport as PciDriverTransport;
    port.set(0x16, 2, 1);
    for (const [register, value] of [
      [0x20, 0x1234_5000],
      [0x24, 1],
      [0x28, 0x2000],
      [0x30, 0x3000],
    ] as const) {
      port.set(register, 4, value);
      expect(port.get(register, 4)).toBe(value);
    }
    port.set(0x18, 2, 8);
    const places = [0, 1].map((queue) => {
      port.set(0x16, 2, queue);
      return port.get(0x1e, 2);
    });
    expect(new Set(places).size).toBe(2);
    expect([port.get(0x18, 2), port.get(0x1c, 2), port.get(0x3a, 2)]).toEqual([8, 0, 0]);
    port.set(0x16, 2, 2);
    expect(port.get(0x18, 2)).toBe(0);
  });

  it('has nothing for legacy drivers when it is modern', () => {
    for (const device of [new VirtioEntropy({ fill: () => {} }), new Adder(false, 30)]) {
      const { pci } = new VirtioPci({ device, mode: 'modern' });
      expect(pci.bars.some(({ options }) => options.kind === 'io')).toBe(false);
      expect(pci.get16(2)).toBe(0x1040 + device.type);
      expect(pci.get16(8) & 0xff).toBe(1);
    }
  });
});
