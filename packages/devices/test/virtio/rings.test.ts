import { beforeEach, describe, expect, it } from 'vitest';
import { type Chain, clauses, formatViolation, VirtioDevice, VirtioFeature, type Virtqueue } from '../../src/virtio/index.js';
import type { DriverQueue, VirtioDriver } from '../../src/virtio/testing/index.js';
import { random } from '../board.js';
import { Bench } from './bench.js';

/** Echoes what it reads, and can be told to hold buffers. */
class Echo extends VirtioDevice {
  readonly taken: Chain[] = [];
  hold = false;
  constructor(packed: boolean, queueSize = 8) {
    super({ name: 'echo', type: 30, queues: [queueSize, queueSize], features: [0], configBytes: 8, packed });
  }
  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (this.hold) this.taken.push(chain);
      else queue.push(chain, this.answer(chain));
    }
    queue.publish();
  }
  answer(chain: Chain): number {
    const bytes = new Uint8Array(chain.readableBytes);
    chain.read(0, bytes);
    return chain.write(0, bytes);
  }
}

describe.each([false, true])('rings, packed %s', (packed) => {
  let echo: Echo;
  let bench: Bench;
  beforeEach(() => {
    echo = new Echo(packed);
    bench = new Bench(echo, { transport: 'mmio', packed });
  });
  const features = (...bits: number[]) => ({ features: bits });

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('carries many buffers around the ring (EVENT_IDX %s, indirect %s)', (eventIndex, indirect) => {
    const driver = bench.start(1, { indirect, features: [VirtioFeature.INDIRECT_DESC, ...(eventIndex ? [VirtioFeature.EVENT_IDX] : [])] });
    const below = random(3);
    for (let i = 0; i < 500; i++) {
      const data = Uint8Array.from({ length: 1 + below(300) }, () => below(256));
      const cut = below(data.length);
      const answer = driver.request(0, [data.subarray(0, cut), data.subarray(cut)], [data.length]);
      expect(answer).toEqual({ written: data.length, bytes: data });
      expect(bench.transport.takeInterrupts()).toBe(1);
    }
    expect(echo.violation).toBeUndefined();
  });

  it('serves several buffers for one notification, in any order, with one interrupt', () => {
    const driver = bench.start(1);
    const ring = driver.queues[0]!;
    echo.hold = true;
    const rooms = [1, 2, 3].map((value) => {
      const room = driver.room(1);
      const id = ring.add([driver.place(Uint8Array.of(value)), room]);
      return { room, id, value };
    });
    driver.kick(0);
    expect(echo.taken.length).toBe(3);
    expect(bench.level).toBe(0);
    for (const index of [1, 2, 0]) echo.queues[0]!.push(echo.taken[index]!, echo.answer(echo.taken[index]!));
    echo.queues[0]!.publish();
    expect(bench.transport.takeInterrupts()).toBe(1);
    expect([1, 2, 0].map((index) => rooms[index]!.id)).toEqual([ring.poll()?.id, ring.poll()?.id, ring.poll()?.id]);
    for (const { room, value } of rooms) expect([...driver.contents([room])]).toEqual([value]);
  });

  it('leaves out interrupts that the driver does not want', () => {
    for (const bits of [[], [VirtioFeature.EVENT_IDX]]) {
      const driver = bench.start(1, features(...bits));
      driver.queues[0]!.setInterrupts(false);
      driver.request(0, [Uint8Array.of(1)], [1]);
      expect(bench.transport.takeInterrupts()).toBe(0);
    }
  });

  it('asks for a notification only for what it has not seen, with EVENT_IDX', () => {
    const driver = bench.start(1, features(VirtioFeature.EVENT_IDX));
    const ring = driver.queues[0]!;
    echo.hold = true;
    const add = () => ring.add([driver.place(Uint8Array.of(1))]);
    add();
    expect(ring.wantsNotification()).toBe(true);
    add();
    expect(ring.wantsNotification()).toBe(false);
    bench.transport.notify(0);
    expect(echo.taken.length).toBe(2);
    add();
    expect(ring.wantsNotification()).toBe(true);
  });

  it('takes nothing before DRIVER_OK, and what was there afterwards', () => {
    const { transport } = bench;
    const driver = bench.start(1);
    transport.status = 0;
    expect(echo.queues[0]!.enabled).toBe(false);
    driver.memory.releaseAll();
    transport.status = 3;
    transport.accept(0, 0);
    transport.accept(1, packed ? 5 : 1);
    transport.status = 11;
    const ring = driver.setUp(0);
    ring.add([driver.place(Uint8Array.of(7)), driver.room(1)]);
    transport.notify(0);
    expect(ring.poll()).toBeUndefined();
    transport.status = 15;
    expect(ring.poll()?.written).toBe(1);
  });

  it('resets one queue and leaves the other', () => {
    const driver = bench.start(2);
    driver.request(0, [Uint8Array.of(1)], [1]);
    echo.hold = true;
    driver.queues[0]!.add([driver.room(4)]);
    bench.transport.notify(0);
    bench.transport.resetQueue(0);
    expect(bench.transport.isEnabled(0)).toBe(false);
    echo.queues[0]!.complete(echo.taken[0]!, 4);
    echo.hold = false;
    expect(driver.request(1, [Uint8Array.of(5)], [1]).bytes).toEqual(Uint8Array.of(5));
    driver.setUp(0);
    expect(driver.request(0, [Uint8Array.of(6)], [1]).bytes).toEqual(Uint8Array.of(6));
  });

  it('accepts notification data', () => {
    const driver = bench.start(1, features(VirtioFeature.NOTIFICATION_DATA));
    for (let i = 0; i < 20; i++) expect(driver.request(0, [Uint8Array.of(i)], [1]).bytes).toEqual(Uint8Array.of(i));
  });

  it('goes on where it was after save and load, buffers in flight and all', () => {
    const driver = bench.start(2);
    for (let i = 0; i < 13; i++) driver.request(0, [Uint8Array.of(i)], [1]);
    echo.hold = true;
    const id = driver.queues[0]!.add([driver.place(Uint8Array.of(9)), driver.room(1)]);
    driver.kick(0);
    const saved = JSON.parse(JSON.stringify(bench.carrier.save())) as unknown;
    bench.carrier.load(saved);
    expect(bench.carrier.save()).toEqual(saved);
    expect(echo.queues[0]!.held.length).toBe(1);
    const held = echo.queues[0]!.held[0]!;
    echo.queues[0]!.complete(held, echo.answer(held));
    expect(driver.queues[0]!.poll()).toEqual({ id, written: 1 });
    echo.hold = false;
    for (let i = 0; i < 20; i++) expect(driver.request(0, [Uint8Array.of(i)], [1]).bytes).toEqual(Uint8Array.of(i));
  });

  it('rejects damaged snapshots', () => {
    bench.start(1);
    const saved = bench.carrier.save() as { device: { queues: { size: number }[] } };
    const broken = structuredClone(saved);
    broken.device.queues[0]!.size = -1;
    expect(() => bench.carrier.load(broken)).toThrow(/bad-state|must be/);
    broken.device.queues.pop();
    expect(() => bench.carrier.load(broken)).toThrow(/bad-state|must be/);
  });
});

/** What a bad driver does to a ring of 8, and the clause that it breaks. */
interface Crime {
  readonly clause: keyof typeof clauses;
  readonly act: (driver: VirtioDriver, ring: DriverQueue) => void;
}
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const HOLE = 0x7fff_0000;

function descriptor(driver: VirtioDriver, ring: DriverQueue, index: number, address: number, length: number, flags: number, next = 0): void {
  const at = ring.descriptors + 16 * index;
  driver.memory.setU64(at, address);
  driver.memory.setU32(at + 8, length);
  driver.memory.setU16(at + 12, flags);
  driver.memory.setU16(at + 14, next);
}
function offer(driver: VirtioDriver, ring: DriverQueue, head: number, count = 1): void {
  driver.memory.setU16(ring.driver + 4, head);
  driver.memory.setU16(ring.driver + 2, count);
  driver.transport.notify(0);
}
/** A table of one descriptor. */
function table(driver: VirtioDriver, flags: number, next = 0): number {
  const address = driver.memory.allocate(32);
  driver.memory.setU64(address, driver.memory.allocate(16));
  driver.memory.setU32(address + 8, 16);
  driver.memory.setU16(address + 12, flags);
  driver.memory.setU16(address + 14, next);
  return address;
}

const splitCrimes: readonly Crime[] = [
  {
    clause: 'descriptor-length',
    act: (d, r) => (descriptor(d, r, 0, 0x2000, 4, NEXT, 1), descriptor(d, r, 1, 0x2000, 0xffff_ffff, 0), offer(d, r, 0)),
  },
  { clause: 'avail-index', act: (d, r) => offer(d, r, 0, 9) },
  { clause: 'avail-head', act: (d, r) => offer(d, r, 8) },
  { clause: 'descriptor-next', act: (d, r) => (descriptor(d, r, 0, 0x2000, 4, NEXT, 8), offer(d, r, 0)) },
  { clause: 'descriptor-loop', act: (d, r) => (descriptor(d, r, 0, 0x2000, 4, NEXT, 1), descriptor(d, r, 1, 0x2000, 4, NEXT, 0), offer(d, r, 0)) },
  { clause: 'descriptor-order', act: (d, r) => (descriptor(d, r, 0, 0x2000, 4, NEXT | WRITE, 1), descriptor(d, r, 1, 0x2000, 4, 0), offer(d, r, 0)) },
  { clause: 'descriptor-address', act: (d, r) => (descriptor(d, r, 0, HOLE, 4, 0), offer(d, r, 0)) },
  { clause: 'descriptor-address', act: (d, r) => (descriptor(d, r, 0, 2 ** 60, 4, WRITE), offer(d, r, 0)) },
  { clause: 'descriptor-address', act: (d, r) => (descriptor(d, r, 0, 0x2000, 0xffff_ffff, WRITE), offer(d, r, 0)) },
  { clause: 'indirect-next', act: (d, r) => (descriptor(d, r, 0, table(d, 0), 16, INDIRECT | NEXT, 1), offer(d, r, 0)) },
  { clause: 'indirect-length', act: (d, r) => (descriptor(d, r, 0, table(d, 0), 17, INDIRECT), offer(d, r, 0)) },
  { clause: 'indirect-length', act: (d, r) => (descriptor(d, r, 0, table(d, 0), 0, INDIRECT), offer(d, r, 0)) },
  { clause: 'indirect-address', act: (d, r) => (descriptor(d, r, 0, HOLE, 16, INDIRECT), offer(d, r, 0)) },
  { clause: 'indirect-nested', act: (d, r) => (descriptor(d, r, 0, table(d, INDIRECT), 16, INDIRECT), offer(d, r, 0)) },
  { clause: 'descriptor-next', act: (d, r) => (descriptor(d, r, 0, table(d, NEXT, 1), 16, INDIRECT), offer(d, r, 0)) },
  { clause: 'descriptor-loop', act: (d, r) => (descriptor(d, r, 0, table(d, NEXT, 0), 16, INDIRECT), offer(d, r, 0)) },
  { clause: 'descriptor-loop', act: (d, r) => (descriptor(d, r, 0, 0x2000, 16 * 1025, INDIRECT), offer(d, r, 0)) },
];

function packedDescriptor(driver: VirtioDriver, ring: DriverQueue, index: number, address: number, length: number, flags: number): void {
  descriptor(driver, ring, index, address, length, index, flags | 0x80);
}
const strike = (d: VirtioDriver): void => d.transport.notify(0);
const packedCrimes: readonly Crime[] = [
  {
    clause: 'descriptor-length',
    act: (d, r) => (packedDescriptor(d, r, 0, 0x2000, 4, NEXT), packedDescriptor(d, r, 1, 0x2000, 0xffff_ffff, 0), strike(d)),
  },
  {
    clause: 'descriptor-order',
    act: (d, r) => (packedDescriptor(d, r, 0, 0x2000, 4, NEXT | WRITE), packedDescriptor(d, r, 1, 0x2000, 4, 0), strike(d)),
  },
  { clause: 'descriptor-address', act: (d, r) => (packedDescriptor(d, r, 0, HOLE, 4, 0), strike(d)) },
  { clause: 'packed-chain', act: (d, r) => (packedDescriptor(d, r, 0, 0x2000, 4, NEXT), strike(d)) },
  {
    clause: 'descriptor-loop',
    act: (d, r) => {
      for (let i = 0; i < 8; i++) packedDescriptor(d, r, i, 0x2000, 4, NEXT);
      strike(d);
    },
  },
  { clause: 'indirect-next', act: (d, r) => (packedDescriptor(d, r, 0, table(d, 0), 16, INDIRECT | NEXT), strike(d)) },
  { clause: 'indirect-length', act: (d, r) => (packedDescriptor(d, r, 0, table(d, 0), 8, INDIRECT), strike(d)) },
  { clause: 'indirect-address', act: (d, r) => (packedDescriptor(d, r, 0, HOLE, 16, INDIRECT), strike(d)) },
  { clause: 'indirect-nested', act: (d, r) => (packedDescriptor(d, r, 0, table(d, 0, INDIRECT), 16, INDIRECT), strike(d)) },
];

describe.each([
  { packed: false, crimes: splitCrimes },
  { packed: true, crimes: packedCrimes },
])('the validator, packed $packed', ({ packed, crimes }) => {
  it.each(crimes.map((crime, i) => ({ ...crime, i })))('names $clause ($i), asks for a reset, and works again after it', ({ clause, act }) => {
    const echo = new Echo(packed);
    const told: string[] = [];
    echo.onViolation = (_device, violation) => told.push(formatViolation(violation));
    const bench = new Bench(echo, { transport: 'mmio', packed });
    const driver = bench.start(1);
    bench.transport.takeInterrupts();
    act(driver, driver.queues[0]!);
    expect(echo.violation?.clause).toBe(clause);
    expect(told.length).toBe(1);
    expect(told[0]).toContain(clauses[clause].section);
    expect(bench.transport.status & 64).toBe(64);
    expect(bench.transport.takeInterrupts()).toBe(2);
    driver.memory.releaseAll();
    expect(bench.start(1).request(0, [Uint8Array.of(3)], [1]).bytes).toEqual(Uint8Array.of(3));
  });

  it('refuses indirect tables that were not negotiated', () => {
    const echo = new Echo(packed);
    const bench = new Bench(echo, { transport: 'mmio', packed });
    const driver = bench.start(1, { features: [] });
    if (packed) packedDescriptor(driver, driver.queues[0]!, 0, table(driver, 0), 16, INDIRECT);
    else descriptor(driver, driver.queues[0]!, 0, table(driver, 0), 16, INDIRECT);
    offer(driver, driver.queues[0]!, 0);
    expect(echo.violation?.clause).toBe('indirect-feature');
  });

  it('refuses queues that are crooked, too big or nowhere', () => {
    const echo = new Echo(packed);
    const bench = new Bench(echo, { transport: 'mmio', packed });
    const enable = (size: number, descriptors: number): string | undefined => {
      bench.start(0);
      bench.transport.enable(0, { size, descriptors, driver: 0x2000, device: 0x3000 } as DriverQueue);
      bench.transport.notify(0);
      return echo.violation?.clause;
    };
    expect(enable(16, 0x1000)).toBe('queue-size');
    expect(enable(0, 0x1000)).toBe('queue-size');
    expect(enable(6, 0x1000)).toBe(packed ? undefined : 'queue-size');
    expect(enable(8, 0x1008)).toBe('queue-alignment');
    expect(enable(8, HOLE)).toBe('queue-address');
    expect(enable(8, 0x1000)).toBeUndefined();
  });
});
