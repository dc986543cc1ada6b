import { beforeEach, describe, expect, it } from 'vitest';
import type { BlockBackend } from '../../src/virtio/index.js';
import { MemoryDisk, OverlayDisk, VirtioBlock, VirtioFeature } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { random } from '../board.js';
import { Bench, ways } from './bench.js';

const SECTORS = 4096;
const [IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES] = [0, 1, 4, 8, 11, 13];
const header = (type: number, sector = 0) => {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(8, sector % 2 ** 32, true);
  view.setUint32(12, Math.floor(sector / 2 ** 32), true);
  return bytes;
};
const segment = (sector: number, sectors: number, flags = 0) => {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, sector, true);
  view.setUint32(8, sectors, true);
  view.setUint32(12, flags, true);
  return bytes;
};
const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 31) & 0xff);
const ask = (driver: VirtioDriver, type: number, sector: number, data: readonly Uint8Array[], rooms: readonly number[] = [], queue = 0) => {
  const answer = driver.request(queue, [header(type, sector), ...data], [...rooms, 1]);
  return { status: answer.bytes.at(-1), bytes: answer.bytes.subarray(0, -1), written: answer.written };
};

/** A memory disk that counts, and can fail or answer late. */
class Probe implements BlockBackend {
  readonly disk = new MemoryDisk(SECTORS * 512);
  readonly sizeBytes = SECTORS * 512;
  readOnly = false;
  flushes = 0;
  fail = false;
  late: (() => void)[] | undefined;
  read(offset: number, target: Uint8Array): void | Promise<void> {
    if (this.fail) throw new Error('broken');
    if (this.late) return new Promise<void>((resolve) => this.late!.push(resolve)).then(() => this.disk.read(offset, target));
    this.disk.read(offset, target);
  }
  write(offset: number, source: Uint8Array): void {
    if (this.fail) throw new Error('broken');
    this.disk.write(offset, source);
  }
  flush(): void {
    this.flushes++;
  }
  discard(offset: number, length: number): void {
    this.disk.discard(offset, length);
  }
}

/** A probe that takes all pieces at once. */
class Vectored extends Probe {
  readonly calls: number[][] = [];
  private readonly each = (offset: number, parts: readonly Uint8Array[], step: (at: number, part: Uint8Array) => void | Promise<void>) => {
    this.calls.push(parts.map(({ length }) => length));
    const steps = parts.map((part, i) => step(offset + parts.slice(0, i).reduce((sum, { length }) => sum + length, 0), part));
    const pending = steps.filter((each) => each instanceof Promise);
    return pending.length > 0 ? Promise.all(pending).then(() => {}) : undefined;
  };
  readParts(offset: number, targets: readonly Uint8Array[]): void | Promise<void> {
    return this.each(offset, targets, (at, part) => this.read(at, part));
  }
  writeParts(offset: number, sources: readonly Uint8Array[]): void | Promise<void> {
    return this.each(offset, sources, (at, part) => this.write(at, part));
  }
}

describe.each(ways)('virtio-blk over $transport, packed $packed', (way) => {
  let probe: Probe;
  let bench: Bench;
  beforeEach(() => {
    probe = new Probe();
    bench = new Bench(new VirtioBlock({ disk: probe, packed: way.packed, serial: 'SERIAL-1', queues: 2 }), way);
  });

  it.each([false, true])('reads what it wrote, in any framing (indirect %s)', (indirect) => {
    const driver = bench.start(2, { indirect });
    const data = pattern(3 * 512, 1);
    expect(ask(driver, OUT, 5, [data.subarray(0, 100), data.subarray(100, 1000), data.subarray(1000)]).status).toBe(0);
    const back = ask(driver, IN, 5, [], [512, 600, 424]);
    expect(back.status).toBe(0);
    expect(back.written).toBe(3 * 512 + 1);
    expect(back.bytes).toEqual(data);
    expect(ask(driver, IN, 8, [], [512], 1).bytes).toEqual(new Uint8Array(512));
  });

  it('hands all pieces of a request to the disk at once, be it now or later', async () => {
    const vectored = new Vectored();
    const bench = new Bench(new VirtioBlock({ disk: vectored, packed: way.packed }), way);
    const driver = bench.start(1);
    const data = pattern(3 * 512, 1);
    expect(ask(driver, OUT, 5, [data.subarray(0, 100), data.subarray(100, 1000), data.subarray(1000)]).status).toBe(0);
    expect(ask(driver, IN, 5, [], [512, 600, 424])).toMatchObject({ status: 0, bytes: data, written: 3 * 512 + 1 });
    expect(ask(driver, IN, 6, [], [512]).bytes).toEqual(data.subarray(512, 1024));
    expect(vectored.calls).toEqual([
      [100, 900, 536],
      [512, 600, 424],
    ]);
    expect(ask(driver, OUT, SECTORS - 1, [pattern(512, 2), pattern(512, 2)]).status).toBe(1);
    vectored.late = [];
    const rooms = [driver.room(500), driver.room(524)];
    driver.queues[0]!.add([driver.place(header(IN, 6)), ...rooms, driver.room(1)]);
    driver.kick(0);
    expect(driver.queues[0]!.poll()).toBeUndefined();
    vectored.late.splice(0).forEach((answer) => answer());
    await new Promise((resolve) => setTimeout(resolve));
    expect(driver.queues[0]!.poll()?.written).toBe(1025);
    expect(driver.contents(rooms)).toEqual(data.subarray(512));
    vectored.fail = true;
    expect(ask(driver, IN, 5, [], [512, 512]).status).toBe(1);
  });

  it('says its capacity and serial number', () => {
    const driver = bench.start(1);
    expect([bench.transport.readConfig(0, 4), bench.transport.readConfig(4, 4)]).toEqual([SECTORS, 0]);
    expect(bench.transport.readConfig(20, 4)).toBe(512);
    expect(bench.transport.readConfig(34, 2)).toBe(2);
    const id = ask(driver, GET_ID, 0, [], [20]);
    expect(String.fromCharCode(...id.bytes)).toBe('SERIAL-1'.padEnd(20, '\0'));
  });

  it('takes requests in whole blocks, where they are larger than sectors', () => {
    const bench = new Bench(new VirtioBlock({ disk: probe, packed: way.packed, logicalBlockBytes: 4096, physicalBlockBytes: 16384 }), way);
    const driver = bench.start(1);
    expect([bench.transport.readConfig(20, 4), bench.transport.readConfig(24, 1), bench.transport.readConfig(44, 4)]).toEqual([4096, 2, 8]);
    expect(ask(driver, OUT, 8, [pattern(4096, 2)]).status).toBe(0);
    expect(ask(driver, IN, 8, [], [4096]).bytes).toEqual(pattern(4096, 2));
    expect(ask(driver, IN, 8, [], [512]).status).toBe(1);
    expect(ask(driver, OUT, 1, [pattern(4096, 3)]).status).toBe(1);
    if (way.transport !== 'legacy') expect([0, 4].map((sector) => ask(driver, WRITE_ZEROES, 8, [segment(8 + sector, 8)]).status)).toEqual([0, 1]);
    for (const [logicalBlockBytes, physicalBlockBytes] of [
      [4096, 512],
      [1000, 4096],
      [256, 512],
      [512, 2 ** 22],
    ] as const)
      expect(() => new VirtioBlock({ disk: probe, logicalBlockBytes, physicalBlockBytes })).toThrow(/blocks of/);
  });

  it('fails beyond the end, in pieces of sectors, and of unknown type, touching nothing', () => {
    const driver = bench.start(1);
    expect(ask(driver, OUT, SECTORS - 1, [pattern(1024, 2)]).status).toBe(1);
    expect(ask(driver, IN, SECTORS - 1, [], [512]).bytes).toEqual(new Uint8Array(512));
    expect(ask(driver, IN, 2 ** 60, [], [512]).status).toBe(1);
    expect(ask(driver, OUT, 0, [pattern(100, 2)]).status).toBe(1);
    expect(ask(driver, 77, 0, []).status).toBe(2);
    probe.fail = true;
    expect(ask(driver, IN, 0, [], [512]).status).toBe(1);
    expect(bench.device.violation).toBeUndefined();
  });

  it('flushes when asked, and by itself without a write cache', () => {
    const driver = bench.start(1, way.transport === 'legacy' ? { features: [9, 11] } : {});
    ask(driver, OUT, 0, [pattern(512, 1)]);
    expect(probe.flushes).toBe(0);
    expect(ask(driver, FLUSH, 0, []).status).toBe(0);
    expect(probe.flushes).toBe(1);
    bench.transport.writeConfig(32, 1, 0);
    ask(driver, OUT, 0, [pattern(512, 1)]);
    expect(probe.flushes).toBe(2);
    const bare = bench.start(1, { features: [] });
    ask(bare, OUT, 0, [pattern(512, 1)]);
    expect(probe.flushes).toBe(3);
  });

  it('discards and writes zeroes in segments, within its limits', () => {
    const driver = bench.start(1);
    ask(driver, OUT, 0, [pattern(64 * 512, 3)]);
    expect(ask(driver, WRITE_ZEROES, 0, [segment(2, 3), segment(10, 1, 1)]).status).toBe(0);
    expect(ask(driver, IN, 2, [], [3 * 512]).bytes).toEqual(new Uint8Array(3 * 512));
    expect(ask(driver, IN, 10, [], [512]).bytes).toEqual(new Uint8Array(512));
    expect(ask(driver, IN, 5, [], [512]).bytes).toEqual(pattern(64 * 512, 3).subarray(5 * 512, 6 * 512));
    expect(ask(driver, DISCARD, 0, [segment(0, 2)]).status).toBe(0);
    expect(ask(driver, DISCARD, 0, [segment(0, 1, 1)]).status).toBe(2);
    expect(ask(driver, WRITE_ZEROES, 0, [segment(0, 1, 4)]).status).toBe(2);
    expect(ask(driver, WRITE_ZEROES, 0, [segment(SECTORS, 1)]).status).toBe(1);
    expect(
      ask(
        driver,
        WRITE_ZEROES,
        0,
        Array.from({ length: 17 }, () => segment(0, 1)),
      ).status,
    ).toBe(1);
    expect(ask(driver, DISCARD, 0, [new Uint8Array(7)]).status).toBe(1);
  });

  it('ends no request while the machine stands still, and begins none of a snapshot before it runs', async () => {
    const driver = bench.start(1);
    probe.late = [];
    driver.queues[0]!.add([driver.place(header(IN, 3)), driver.room(512), driver.room(1)]);
    driver.kick(0);
    bench.device.freeze();
    const saved = bench.device.save();
    probe.late.splice(0).forEach((answer) => answer());
    await new Promise((resolve) => setTimeout(resolve));
    expect([driver.queues[0]!.poll(), bench.device.save()]).toEqual([undefined, saved]);
    bench.device.load(saved);
    expect(probe.late.length).toBe(0);
    bench.device.thaw();
    expect(probe.late.length).toBe(1);
    probe.late.splice(0).forEach((answer) => answer());
    await new Promise((resolve) => setTimeout(resolve));
    expect(driver.queues[0]!.poll()?.written).toBe(513);
    expect(driver.queues[0]!.poll()).toBeUndefined();
  });

  it('answers a late disk, drops the answer after a reset, and goes on after a snapshot', async () => {
    const driver = bench.start(1);
    ask(driver, OUT, 7, [pattern(512, 9)]);
    probe.late = [];
    const send = (to: VirtioDriver) => {
      const room = to.room(512);
      const status = to.room(1);
      const id = to.queues[0]!.add([to.place(header(IN, 7)), room, status]);
      to.kick(0);
      return { room, status, id };
    };
    const first = send(driver);
    expect(driver.queues[0]!.poll()).toBeUndefined();
    const saved = JSON.parse(JSON.stringify(bench.carrier.save())) as unknown;
    bench.carrier.load(saved);
    expect(probe.late.length).toBe(2);
    probe.late.forEach((answer) => answer());
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(driver.queues[0]!.poll()).toEqual({ id: first.id, written: 513 });
    expect(driver.queues[0]!.poll()).toBeUndefined();
    expect(driver.contents([first.room])).toEqual(pattern(512, 9));
    send(driver);
    bench.transport.status = 0;
    const pending = probe.late.splice(0);
    const before = bench.memory.bytes.slice();
    pending.forEach((answer) => answer());
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(bench.device.queues[0]!.held).toEqual([]);
    expect(bench.memory.bytes.length).toBe(before.length);
  });

  it('a request without a header or a status byte breaks the device, which says why', () => {
    const driver = bench.start(1);
    driver.queues[0]!.add([driver.place(new Uint8Array(8)), driver.room(1)]);
    driver.kick(0);
    expect(bench.device.violation?.clause).toBe('device-request');
    expect(bench.transport.status & 64).toBe(64);
    const again = bench.start(1);
    expect(ask(again, FLUSH, 0, []).status).toBe(0);
  });
});

it('is read-only when its disk is', () => {
  const probe = new Probe();
  probe.readOnly = true;
  const bench = new Bench(new VirtioBlock({ disk: probe }), { transport: 'pci' });
  const driver = bench.start(1);
  expect(driver.has(5)).toBe(true);
  expect(ask(driver, OUT, 0, [pattern(512, 1)]).status).toBe(1);
  expect(ask(driver, WRITE_ZEROES, 0, [segment(0, 1)]).status).toBe(2);
});

it('keeps buffers in order with IN_ORDER, though the disk answers in another', async () => {
  const probe = new Probe();
  const bench = new Bench(new VirtioBlock({ disk: probe }), { transport: 'pci' });
  const driver = bench.start(1, { features: [VirtioFeature.IN_ORDER] });
  probe.late = [];
  const ids = [1, 2, 3].map((sector) => driver.queues[0]!.add([driver.place(header(IN, sector)), driver.room(512), driver.room(1)]));
  driver.kick(0);
  for (const index of [2, 0, 1]) {
    probe.late[index]!();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect([0, 1, 2].map(() => driver.queues[0]!.poll()?.id)).toEqual(ids);
});

it('an overlay agrees with a plain array and leaves its base alone', () => {
  const base = new MemoryDisk(0x5_0000);
  base.write(0, pattern(0x5_0000, 1));
  const overlay = new OverlayDisk(base);
  const model = pattern(0x5_0000, 1);
  const below = random(5);
  for (let i = 0; i < 300; i++) {
    const length = 512 * (1 + below(200));
    const offset = 512 * below(Math.floor((0x5_0000 - length) / 512) + 1);
    if (below(2) === 0) {
      const data = pattern(length, i);
      void overlay.write(offset, data);
      model.set(data, offset);
    } else {
      const target = new Uint8Array(length);
      void overlay.read(offset, target);
      expect(Buffer.compare(target, model.subarray(offset, offset + length))).toBe(0);
    }
  }
  const untouched = new Uint8Array(0x5_0000);
  base.read(0, untouched);
  expect(untouched).toEqual(pattern(0x5_0000, 1));
});
