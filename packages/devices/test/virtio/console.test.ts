import { describe, expect, it } from 'vitest';
import { VirtioConsole } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { Bench, ways } from './bench.js';

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (words: string) => new TextEncoder().encode(words);

describe.each(ways)('virtio-console over $transport, packed $packed', (way) => {
  const start = (multiport: boolean) => {
    const output: string[] = ['', ''];
    const opened: boolean[] = [];
    const device = new VirtioConsole({
      packed: way.packed,
      ports: [
        { console: true, write: (bytes) => void (output[0] += text(bytes)) },
        { name: 'agent', write: (bytes) => void (output[1] += text(bytes)), onOpen: (open) => void opened.push(open) },
      ],
      columns: 132,
      rows: 43,
    });
    const bench = new Bench(device, way);
    const driver = bench.start(multiport ? 6 : 2, { features: multiport ? [0, 1, 2] : [0, 2] });
    return { device, bench, driver, output, opened };
  };
  const put = (driver: VirtioDriver, queue: number, length: number) => {
    const room = driver.room(length);
    driver.queues[queue]!.add([room]);
    driver.kick(queue);
    return room;
  };
  const take = (driver: VirtioDriver, queue: number, room: ReturnType<typeof put>) => {
    const used = driver.queues[queue]!.poll();
    return used ? driver.contents([room]).subarray(0, used.written) : undefined;
  };
  const control = (driver: VirtioDriver, port: number, event: number, value: number) =>
    driver.request(3, [Uint8Array.of(port, 0, 0, 0, event, 0, value, 0)], []);

  it('is one terminal without MULTIPORT', () => {
    const { device, bench, driver, output } = start(false);
    expect([bench.transport.readConfig(0, 2), bench.transport.readConfig(2, 2)]).toEqual([132, 43]);
    driver.request(1, [bytesOf('hello '), bytesOf('there')], []);
    expect(output[0]).toBe('hello there');
    expect(device.receive(0, bytesOf('ab'))).toBe(2);
    const first = put(driver, 0, 1);
    expect(take(driver, 0, first)).toEqual(bytesOf('a'));
    const second = put(driver, 0, 8);
    expect(take(driver, 0, second)).toEqual(bytesOf('b'));
    const third = put(driver, 0, 8);
    expect(take(driver, 0, third)).toBeUndefined();
    device.receive(0, bytesOf('later'));
    expect(take(driver, 0, third)).toEqual(bytesOf('later'));
    bench.transport.writeConfig(8, 4, 0x21);
    expect(output[0]).toBe('hello there!');
  });

  it('introduces its ports, and moves bytes only through open ones', () => {
    const { device, driver, output, opened } = start(true);
    const rooms = Array.from({ length: 8 }, () => put(driver, 2, 32));
    control(driver, 0, 0, 1);
    control(driver, 0, 3, 1);
    control(driver, 1, 3, 1);
    const messages = rooms.map((room) => take(driver, 2, room)).filter((message) => message !== undefined);
    expect(messages.map((message) => [message[0], message[4]])).toEqual([
      [0, 1],
      [1, 1],
      [0, 4],
      [0, 5],
      [0, 6],
      [1, 7],
      [1, 6],
    ]);
    expect(text(messages[5]!.subarray(8))).toBe('agent\0');
    device.receive(1, bytesOf('x'));
    const room = put(driver, 4, 8);
    expect(take(driver, 4, room)).toBeUndefined();
    control(driver, 1, 6, 1);
    expect(opened).toEqual([true]);
    expect(take(driver, 4, room)).toEqual(bytesOf('x'));
    driver.request(5, [bytesOf('to the host')], []);
    expect(output).toEqual(['', 'to the host']);
    control(driver, 1, 6, 0);
    expect(opened).toEqual([true, false]);
    control(driver, 200, 6, 1);
    control(driver, 0, 99, 1);
    expect(device.violation).toBeUndefined();
  });

  it('has ports plugged in and taken out while the guest runs', () => {
    const got: string[] = [];
    const opened: boolean[] = [];
    const device = new VirtioConsole({ packed: way.packed, ports: [null, null, null] });
    const driver = new Bench(device, way).start(8, { features: [1] });
    const rooms = Array.from({ length: 8 }, () => put(driver, 2, 32));
    const next = (): number[] | undefined => {
      const message = take(driver, 2, rooms[0]!);
      if (message) rooms.shift();
      return message && [message[0]!, message[4]!];
    };
    const port = { name: 'late', write: (bytes: Uint8Array) => void got.push(text(bytes)), onOpen: (open: boolean) => void opened.push(open) };
    device.plug(1, port);
    control(driver, 0, 0, 1);
    expect([next(), next()]).toEqual([[1, 1], undefined]);
    device.plug(2, port);
    expect(next()).toEqual([2, 1]);
    expect(() => device.plug(2, port)).toThrow('two ports at place 2');
    expect(() => device.plug(3, port)).toThrow('there is no place 3 for a port; there are 3');
    control(driver, 2, 3, 1);
    expect([next(), next()]).toEqual([
      [2, 7],
      [2, 6],
    ]);
    control(driver, 2, 6, 1);
    driver.request(7, [bytesOf('hello')], []);
    device.unplug(2);
    device.unplug(2);
    expect([got, opened, next(), next()]).toEqual([['hello'], [true, false], [2, 2], undefined]);
    driver.request(7, [bytesOf('into the void')], []);
    expect([got, device.receive(2, bytesOf('x')), device.violation]).toEqual([['hello'], 0, undefined]);
  });

  it('tells of another size, and keeps what waits over save and load', () => {
    const { device, bench, driver } = start(true);
    control(driver, 0, 0, 1);
    for (let i = 0; i < 2; i++) put(driver, 2, 32);
    device.resize(100, 30);
    const rooms = [put(driver, 2, 32)];
    expect([bench.transport.readConfig(0, 2), bench.transport.readConfig(2, 2)]).toEqual([100, 30]);
    driver.queues[2]!.poll();
    driver.queues[2]!.poll();
    expect([...take(driver, 2, rooms[0]!)!]).toEqual([0, 0, 0, 0, 5, 0, 0, 0, 100, 0, 30, 0]);
    control(driver, 0, 6, 1);
    device.receive(0, bytesOf('kept'));
    const saved = JSON.parse(JSON.stringify(bench.carrier.save())) as unknown;
    bench.carrier.load(saved);
    expect(bench.carrier.save()).toEqual(saved);
    const room = put(driver, 0, 8);
    expect(take(driver, 0, room)).toEqual(bytesOf('kept'));
  });

  it('holds what the guest sends while the host takes none', () => {
    const got: string[] = [];
    let free = false;
    const port = { write: (bytes: Uint8Array) => (got.push(text(bytes)), free) };
    const device = new VirtioConsole({ packed: way.packed, ports: [null, port] });
    const driver = new Bench(device, way).start(6, { features: [1] });
    for (const word of ['a', 'b', 'c']) {
      driver.queues[5]!.add([driver.place(bytesOf(word))]);
      driver.kick(5);
    }
    expect(got).toEqual(['a']);
    device.resumePort(1);
    expect(got).toEqual(['a', 'b']);
    free = true;
    device.resumePort(1);
    expect(got).toEqual(['a', 'b', 'c']);
    expect(device.receive(0, bytesOf('x'))).toBe(0);
  });

  it('refuses more than it can keep for a guest that does not read', () => {
    const { device } = start(false);
    expect(device.receive(0, new Uint8Array(0x1_0000 + 5))).toBe(0x1_0000);
    expect(device.receive(0, new Uint8Array(1))).toBe(0);
    expect(device.receive(9, new Uint8Array(1))).toBe(0);
  });
});
