import { describe, expect, it } from 'vitest';
import { type FileBackend, VirtioFiles } from '../../src/virtio/index.js';
import { Bench, ways } from './bench.js';

/** A server that answers with what it was sent, and counts who leaves. */
function createEcho(): FileBackend & { resets: number; saved: unknown } {
  return {
    resets: 0,
    saved: undefined,
    exchange: (exchange) => {
      const bytes = new Uint8Array(exchange.readableBytes);
      exchange.read(0, bytes);
      return exchange.readableBytes < 7 ? 0 : exchange.write(0, bytes);
    },
    reset() {
      this.resets++;
    },
    save: () => ({ kept: 'state' }),
    load(saved) {
      this.saved = saved;
    },
  };
}

describe.each(ways)('virtio-9p over $transport, packed $packed', (way) => {
  const start = () => {
    const server = createEcho();
    const device = new VirtioFiles({ server, tag: 'täg', packed: way.packed });
    const bench = new Bench(device, way);
    return { server, device, bench, driver: bench.start(1) };
  };

  it('shows its tag, and carries messages', () => {
    const { bench, driver } = start();
    const tag = new TextEncoder().encode('täg');
    expect(bench.transport.readConfig(0, 2)).toBe(tag.length);
    expect([...tag].map((_, i) => bench.transport.readConfig(2 + i, 1))).toEqual([...tag]);
    const message = Uint8Array.from({ length: 40 }, (_, i) => i);
    const { written, bytes } = driver.request(0, [message.subarray(0, 7), message.subarray(7)], [10, 50]);
    expect(written).toBe(40);
    expect(bytes.subarray(0, 40)).toEqual(message);
  });

  it('answers several messages of one notification, each in its own buffer', () => {
    const { driver } = start();
    const queue = driver.queues[0]!;
    const rooms = [11, 22, 33].map((fill) => {
      const room = driver.room(16);
      queue.add([driver.place(new Uint8Array(16).fill(fill)), room]);
      return room;
    });
    driver.kick(0);
    for (const [i, room] of rooms.entries()) {
      expect(queue.poll()?.written).toBe(16);
      expect(driver.contents([room])[15]).toBe(11 * (i + 1));
    }
  });

  it('offers MOUNT_TAG, without which its configuration says nothing to the driver', () => {
    const { device } = start();
    expect(device.readFeatures(0) & 1).toBe(1);
    expect(device.negotiated(0)).toBe(true);
  });

  it('wants a reset when what comes is no message', () => {
    const { device, driver } = start();
    expect(() => driver.request(0, [new Uint8Array(3)], [20])).toThrow(RangeError);
    expect(device.violation?.clause).toBe('device-request');
    expect(device.status & 64).toBe(64);
  });

  it('tells its server of resets, and saves what it holds', () => {
    const { server, bench, device } = start();
    const before = server.resets;
    bench.transport.status = 0;
    expect(server.resets).toBe(before + 1);
    device.load(JSON.parse(JSON.stringify(device.save())));
    expect(server.saved).toEqual({ kept: 'state' });
  });
});

it('a tag has 1 to 255 bytes', () => {
  expect(() => new VirtioFiles({ server: createEcho(), tag: '' })).toThrow(/tag of 0 bytes/);
  expect(() => new VirtioFiles({ server: createEcho(), tag: 'x'.repeat(256) })).toThrow(/256 bytes/);
});
