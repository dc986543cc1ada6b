import { describe, expect, it } from 'vitest';
import { type FrameOffload, type NetworkBackend, VirtioFeature, VirtioNetwork, VirtioStatus } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { Bench, ways } from './bench.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const [CSUM, GUEST_CSUM, OFFLOAD_CONTROL, MAC_BIT, GUEST_TSO4, HOST_TSO4, MERGE, STATUS, CONTROL, RX, VLAN, MQ, SET_MAC] = [
  0, 1, 2, 5, 7, 11, 15, 16, 17, 18, 19, 22, 23,
];

/** A network that remembers. */
class Probe implements NetworkBackend {
  offloads = true;
  readonly sent: { readonly frame: Uint8Array; readonly offload: FrameOffload | undefined }[] = [];
  receiver: NetworkBackend['receiver'];
  guest = { checksum: false, segments: false };
  send(frame: Uint8Array, offload?: FrameOffload): void {
    this.sent.push({ frame: frame.slice(), offload });
  }
}

const frameTo = (target: ArrayLike<number>, length = 100): Uint8Array => {
  const frame = Uint8Array.from({ length }, (_, i) => i & 0xff);
  frame.set(Array.from(target), 0);
  frame.set([8, 0], 12);
  return frame;
};

function create(way: (typeof ways)[number], options: { pairs?: number; features?: readonly number[]; queues?: number } = {}) {
  const backend = new Probe();
  const device = new VirtioNetwork({ backend, mac: MAC, pairs: options.pairs ?? 1, packed: way.packed });
  const bench = new Bench(device, way);
  const driver = bench.start(options.queues ?? 3, options.features ? { features: options.features } : {});
  const modern = way.transport !== 'legacy';
  const headerBytes = modern || driver.has(MERGE) ? 12 : 10;
  return { backend, device, bench, driver, headerBytes };
}

/** Gives receive buffers; the result reads what came: one entry for each used buffer. */
function giveBuffers(driver: VirtioDriver, sizes: readonly number[], queue = 0): () => Uint8Array[] {
  const rooms = new Map(
    sizes.map((size) => {
      const room = driver.room(size);
      return [driver.queues[queue]!.add([room]), room] as const;
    }),
  );
  driver.kick(queue);
  return () => {
    const got: Uint8Array[] = [];
    for (let used = driver.queues[queue]!.poll(); used; used = driver.queues[queue]!.poll())
      got.push(driver.contents([rooms.get(used.id)!]).subarray(0, used.written));
    return got;
  };
}

const transmit = (driver: VirtioDriver, header: Uint8Array, frame: Uint8Array, queue = 1) => driver.request(queue, [header, frame], []);
const command = (driver: VirtioDriver, bytes: readonly number[], queue = 2): number | undefined =>
  driver.request(queue, [Uint8Array.from(bytes)], [1]).bytes[0];

describe.each(ways)('virtio-net on $transport, packed $packed', (way) => {
  it('keeps frames that come while the machine stands still, and leaves memory and rings alone until it goes on', () => {
    const { backend, device, driver, headerBytes } = create(way);
    const got = giveBuffers(driver, [2000, 2000]);
    device.freeze();
    const saved = JSON.stringify(device.save());
    const frames = [frameTo(MAC, 90), frameTo(MAC, 120)];
    for (const frame of frames) {
      backend.receiver?.(frame);
      // Whoever gives a frame may use its bytes again.
      frame.fill(0xee, 20);
    }
    expect([got().length, JSON.stringify(device.save()) === saved]).toEqual([0, true]);
    device.thaw();
    expect(got().map((bytes) => [bytes.length - headerBytes, bytes[headerBytes + 20]])).toEqual([
      [90, 20],
      [120, 20],
    ]);
  });

  it('tells its address and that the link is up', () => {
    const { driver, device } = create(way);
    expect(Array.from({ length: 6 }, (_, i) => driver.transport.readConfig(i, 1))).toEqual([...MAC]);
    expect(driver.transport.readConfig(6, 2)).toBe(1);
    device.setLink(false);
    expect(driver.transport.readConfig(6, 2)).toBe(0);
  });

  it('sends frames without their headers, in one piece or in several', () => {
    const { driver, backend, headerBytes } = create(way);
    const frame = frameTo([1, 2, 3, 4, 5, 6], 1514);
    transmit(driver, new Uint8Array(headerBytes), frame);
    const [a, b] = [new Uint8Array([...new Uint8Array(headerBytes), ...frame.subarray(0, 10)]), frame.subarray(10)];
    driver.request(1, [a, b.subarray(0, 700), b.subarray(700)], []);
    expect(backend.sent.map(({ frame: sent }) => Buffer.compare(sent, frame))).toEqual([0, 0]);
    expect(backend.sent[0]!.offload).toBeUndefined();
  });

  it('tells of sent frames a little later, and not at all when the driver has looked by itself', () => {
    const { driver, bench } = create(way);
    const frame = frameTo(MAC);
    const header = new Uint8Array(way.transport === 'legacy' ? 12 : 12);
    const pass = (milliseconds = 10): number => {
      bench.board.clock.advanceTo(bench.board.clock.nowNs() + milliseconds * 1e6);
      return bench.transport.takeInterrupts();
    };
    pass();
    const queue = driver.queues[1]!;
    const put = (): void => {
      queue.add([driver.place(header), driver.place(frame)]);
      driver.kick(1);
    };
    put();
    expect(bench.transport.takeInterrupts()).toBe(0);
    expect(pass()).toBe(1);
    // Nothing is owed twice.
    expect(pass()).toBe(0);
    queue.poll();
    put();
    // Polled: with EVENT_IDX the driver has moved its mark past what was used.
    expect(queue.poll()).toBeDefined();
    queue.setInterrupts(true);
    expect(pass()).toBe(driver.has(VirtioFeature.EVENT_IDX) ? 0 : 1);
    // Who sends much and hears nothing is told sooner.
    queue.poll();
    for (let i = 0; i < 4; i++) put();
    expect(pass(2)).toBe(0);
    for (let i = 0; i < 4; i++) put();
    expect(pass(2)).toBe(1);
  });

  it('leaves checksums and segmentation to a network that takes them, and nothing that was not negotiated', () => {
    const { driver, backend, headerBytes } = create(way);
    const header = new Uint8Array(headerBytes);
    header.set([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0]);
    transmit(driver, header, frameTo(MAC, 20_000));
    expect(backend.sent[0]!.offload).toEqual({ checksum: { start: 34, offset: 16 }, segmentBytes: 1460 });
    // A checksum past the end of the frame, and a kind of segmentation that was not offered.
    header.set([1, 0, 0, 0, 0, 0, 0xff, 0xff]);
    transmit(driver, header, frameTo(MAC, 200));
    header.set([1, 3, 54, 0, 0xb4, 5, 34, 0]);
    transmit(driver, header, frameTo(MAC, 200));
    expect(backend.sent.length).toBe(1);
    backend.sent.length = 0;
    const plain = create(way, { features: [MAC_BIT, STATUS, VirtioFeature.EVENT_IDX] });
    transmit(
      plain.driver,
      Uint8Array.from({ length: plain.headerBytes }, (_, i) => [1, 0, 0, 0, 0, 0, 34, 0, 16, 0][i] ?? 0),
      frameTo(MAC),
    );
    expect(plain.backend.sent).toEqual([]);
  });

  it('does not offer what its network does not take', () => {
    const backend = new Probe();
    backend.offloads = false;
    const device = new VirtioNetwork({ backend, mac: MAC, packed: way.packed });
    const offloads = [CSUM, GUEST_CSUM, OFFLOAD_CONTROL, GUEST_TSO4, HOST_TSO4].reduce((bits, bit) => bits | (1 << bit), 0);
    expect(device.offered[0]! & offloads).toBe(0);
  });

  it('receives frames, one buffer each', () => {
    const { driver, backend, headerBytes } = create(way);
    const received = giveBuffers(driver, [1600, 1600, 1600]);
    const frames = [frameTo(MAC, 60), frameTo(MAC, 1514)];
    for (const frame of frames) backend.receiver!(frame);
    const got = received();
    expect(got.map((bytes) => bytes.length)).toEqual(frames.map((frame) => frame.length + headerBytes));
    got.forEach((bytes, i) => expect(Buffer.compare(bytes.subarray(headerBytes), frames[i]!)).toBe(0));
    if (driver.has(MERGE)) expect(got[0]![10]).toBe(1);
  });

  it('merges buffers for long frames, and keeps a frame until there are enough', () => {
    const { driver, backend } = create(way);
    const first = giveBuffers(driver, [500, 500]);
    const frame = frameTo(MAC, 1800);
    backend.receiver!(frame, { checksum: { start: 34, offset: 16 }, segmentBytes: 1460 });
    expect(first()).toEqual([]);
    const rooms = [driver.room(500), driver.room(500)];
    for (const room of rooms) driver.queues[0]!.add([room]);
    driver.kick(0);
    const used: number[] = [];
    for (let one = driver.queues[0]!.poll(); one; one = driver.queues[0]!.poll()) used.push(one.written);
    expect(used).toEqual([500, 500, 500, 312]);
    const last = driver.contents(rooms);
    expect(Buffer.compare(last.subarray(0, 812), frame.subarray(988))).toBe(0);
  });

  it('passes offloads on to a guest that asked for them', () => {
    const { driver, backend } = create(way);
    expect(backend.guest).toEqual({ checksum: true, segments: true });
    const received = giveBuffers(driver, [4000]);
    backend.receiver!(frameTo(MAC, 3000), { checksum: { start: 34, offset: 16 }, segmentBytes: 1460 });
    expect([...received()[0]!.subarray(0, 10)]).toEqual([1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0]);
    expect(command(driver, [5, 0, 0, 0, 0, 0, 0, 0, 0, 0])).toBe(0);
    expect(backend.guest).toEqual({ checksum: false, segments: false });
    expect(command(driver, [5, 0, 0, 1, 0, 0, 0, 0, 0, 0])).toBe(1);
  });

  it('filters what it receives as the control queue says', () => {
    const { driver, backend } = create(way);
    const received = giveBuffers(
      driver,
      Array.from({ length: 20 }, () => 200),
    );
    const [other, group, all] = [
      [2, 0, 0, 0, 0, 9],
      [1, 0, 0x5e, 0, 0, 1],
      [255, 255, 255, 255, 255, 255],
    ];
    const heard = (): number => {
      for (const target of [MAC, other, group, all]) backend.receiver!(frameTo(target));
      return received().length;
    };
    // VLAN filtering was negotiated and concerns tagged frames only.
    expect(heard()).toBe(4);
    expect(command(driver, [0, 0, 0])).toBe(0);
    expect(heard()).toBe(2);
    expect(command(driver, [1, 0, 1, 0, 0, 0, ...other, 1, 0, 0, 0, ...group])).toBe(0);
    expect(heard()).toBe(4);
    expect(command(driver, [0, 5, 1])).toBe(0);
    expect(heard()).toBe(3);
    expect(command(driver, [1, 0, 255, 255, 255, 255])).toBe(1);
    expect(command(driver, [1, 1, ...other])).toBe(0);
    expect(driver.transport.readConfig(5, 1)).toBe(9);
    expect(command(driver, [77, 0])).toBe(1);
  });

  it('refuses commands of features that it does not offer, and goes on', () => {
    const { driver, device } = create(way);
    // Statistics, tunnel hash, coalescing by queue and for all, hash report, and scaling.
    for (const bit of [50, 51, 52, 53, 57, 60]) expect((device.readFeatures(bit >>> 5) >>> (bit & 31)) & 1).toBe(0);
    const commands = [
      [4, 1],
      [4, 2],
      [6, 0],
      [6, 1],
      [6, 2],
      [7, 0],
      [8, 0],
      [8, 1],
      [9, 0],
    ];
    for (const [kind, number] of commands) expect(command(driver, [kind!, number!, ...Array.from({ length: 40 }, () => 1)])).toBe(1);
    expect(command(driver, [0, 0, 1])).toBe(0);
  });

  it('passes tagged frames of the VLANs that were added', () => {
    const { driver, backend } = create(way);
    const received = giveBuffers(driver, [200, 200, 200]);
    const tagged = frameTo(MAC);
    tagged.set([0x81, 0, 0x20, 7], 12);
    backend.receiver!(tagged);
    expect(received().length).toBe(0);
    expect(command(driver, [2, 0, 7, 0])).toBe(0);
    backend.receiver!(tagged);
    expect(received().length).toBe(1);
  });

  it('asks for a reset when a request has the wrong shape', () => {
    for (const [queue, buffers] of [
      [1, (driver: VirtioDriver) => [driver.place(new Uint8Array(4))]],
      [1, (driver: VirtioDriver) => [driver.place(new Uint8Array(100)), driver.room(10)]],
      [2, (driver: VirtioDriver) => [driver.place(new Uint8Array(1)), driver.room(1)]],
    ] as const) {
      const { driver, device } = create(way);
      driver.queues[queue]!.add(buffers(driver));
      driver.kick(queue);
      expect(device.status & VirtioStatus.NEEDS_RESET).toBe(VirtioStatus.NEEDS_RESET);
    }
  });
});

describe('several pairs of queues', () => {
  const way = ways[0];

  it('answers a connection on the pair that the guest sends on', () => {
    const { driver, backend, headerBytes } = create(way, { pairs: 4, queues: 9 });
    expect(driver.transport.readConfig(8, 2)).toBe(4);
    expect(command(driver, [4, 0, 4, 0], 8)).toBe(0);
    expect(command(driver, [4, 0, 5, 0], 8)).toBe(1);
    const packet = frameTo(MAC);
    packet.set([0x45], 14);
    packet.set([6], 23);
    transmit(driver, new Uint8Array(headerBytes), packet, 5);
    const received = giveBuffers(driver, [400], 4);
    const answer = packet.slice();
    answer.set(packet.subarray(26, 30), 30);
    answer.set(packet.subarray(30, 34), 26);
    answer.set(packet.subarray(34, 36), 36);
    answer.set(packet.subarray(36, 38), 34);
    backend.receiver!(answer);
    expect(received().length).toBe(1);
  });

  it('has its control queue third while the driver knows of one pair only', () => {
    const { driver } = create(way, { pairs: 4, queues: 3, features: [MAC_BIT, STATUS, CONTROL, RX, VLAN, SET_MAC].filter((bit) => bit !== MQ) });
    expect(command(driver, [0, 0, 1])).toBe(0);
  });
});

it('goes on after it was saved and loaded, and announces itself', () => {
  const way = ways[0];
  const { driver, device, bench } = create(way);
  expect(command(driver, [0, 0, 0])).toBe(0);
  const received = giveBuffers(driver, [200, 200]);
  const saved = JSON.parse(JSON.stringify(device.save())) as unknown;
  device.load(saved);
  expect(driver.transport.readConfig(6, 2)).toBe(3);
  expect(command(driver, [3, 0])).toBe(0);
  expect(driver.transport.readConfig(6, 2)).toBe(1);
  const backend = (bench.device as VirtioNetwork) && device;
  expect(backend.running).toBe(true);
  expect(received()).toEqual([]);
});
