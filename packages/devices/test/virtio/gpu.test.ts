import { describe, expect, it } from 'vitest';
import { VirtioGraphics } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { Bench, ways } from './bench.js';

const wide = ways.filter(({ transport }) => transport !== 'legacy');
const OK = 0x1100;
const BAD_RESOURCE = 0x1203;
const BAD_PARAMETER = 0x1205;

/** A command of words behind its header; returns the answer. */
function send(driver: VirtioDriver, type: number, words: readonly number[], room = 1200, queue = 0, fence = 0) {
  const command = new Uint8Array(24 + 4 * words.length);
  const view = new DataView(command.buffer);
  view.setUint32(0, type, true);
  if (fence) {
    view.setUint32(4, 1, true);
    view.setUint32(8, fence, true);
  }
  words.forEach((word, i) => view.setUint32(24 + 4 * i, word, true));
  const { written, bytes } = driver.request(queue, [command], [room]);
  const answer = new DataView(bytes.buffer, 0, written);
  return { type: written >= 4 ? answer.getUint32(0, true) : 0, answer, written };
}

describe.each(wide)('virtio-gpu over $transport, packed $packed', (way) => {
  const start = (mostBytes?: number) => {
    const device = new VirtioGraphics({ width: 640, height: 480, packed: way.packed, ...(mostBytes === undefined ? {} : { mostBytes }) });
    const bench = new Bench(device, way);
    return { device, bench, driver: bench.start(2) };
  };
  /** A picture of 4 × 2 pixels in B8G8R8X8, whose memory is in two pieces. */
  const paint = (driver: VirtioDriver) => {
    const pixels = Uint8Array.from({ length: 32 }, (_, i) => i);
    const first = driver.place(pixels.subarray(0, 12));
    const second = driver.place(pixels.subarray(12));
    expect(send(driver, 0x101, [7, 2, 4, 2]).type).toBe(OK);
    expect(send(driver, 0x106, [7, 2, first.address, 0, 12, 0, second.address, 0, 20, 0]).type).toBe(OK);
    return pixels;
  };

  it('describes its display', () => {
    const { driver, bench, device } = start();
    expect([0, 4, 8, 12].map((offset) => bench.transport.readConfig(offset, 4))).toEqual([0, 0, 1, 0]);
    const { type, answer, written } = send(driver, 0x100, [], 1200, 0, 99);
    expect([type, written, answer.getUint32(4, true), answer.getUint32(8, true)]).toEqual([0x1101, 408, 1, 99]);
    expect([24, 28, 32, 36, 40].map((offset) => answer.getUint32(offset, true))).toEqual([0, 0, 640, 480, 1]);
    device.resize(800, 600);
    expect(bench.transport.readConfig(0, 4)).toBe(1);
    bench.transport.writeConfig(4, 4, 1);
    expect(bench.transport.readConfig(0, 4)).toBe(0);
    expect(send(driver, 0x100, []).answer.getUint32(32, true)).toBe(800);
  });

  it('has EDID whose checksum is right', () => {
    const { driver } = start();
    const { type, answer } = send(driver, 0x10a, [0, 0]);
    expect([type, answer.getUint32(24, true)]).toEqual([0x1104, 128]);
    const edid = Array.from({ length: 128 }, (_, i) => answer.getUint8(32 + i));
    expect(edid.reduce((sum, byte) => sum + byte, 0) & 255).toBe(0);
    expect([edid[56]! | ((edid[58]! >> 4) << 8), edid[59]! | ((edid[61]! >> 4) << 8)]).toEqual([640, 480]);
    expect(send(driver, 0x10a, [1, 0]).type).toBe(0x1202);
  });

  it('shows what was transferred', () => {
    const { device, driver } = start();
    expect(device.picture()).toBeUndefined();
    const pixels = paint(driver);
    expect(send(driver, 0x103, [0, 0, 4, 2, 0, 7]).type).toBe(OK);
    expect(send(driver, 0x105, [0, 0, 4, 2, 0, 0, 7, 0]).type).toBe(OK);
    expect(send(driver, 0x104, [0, 0, 4, 2, 7, 0]).type).toBe(OK);
    const picture = device.picture()!;
    expect([picture.width, picture.height]).toEqual([4, 2]);
    const wanted = Array.from({ length: 8 }, (_, i) => [pixels[4 * i + 2], pixels[4 * i + 1], pixels[4 * i], 255]).flat();
    expect([...picture.pixels]).toEqual(wanted);
    expect(send(driver, 0x103, [0, 0, 0, 0, 0, 0]).type).toBe(OK);
    expect(device.picture()).toBeUndefined();
  });

  it('transfers a part, line by line', () => {
    const { device, driver } = start();
    const pixels = paint(driver);
    send(driver, 0x103, [1, 0, 2, 2, 0, 7]);
    // The part begins at its own place in the memory.
    expect(send(driver, 0x105, [1, 0, 2, 2, 4, 0, 7, 0]).type).toBe(OK);
    const reds = [1, 2, 5, 6].map((pixel) => pixels[4 * pixel + 2]);
    expect([...device.picture()!.pixels].filter((_, i) => i % 4 === 0)).toEqual(reds);
    send(driver, 0x103, [0, 0, 4, 2, 0, 7]);
    expect(device.picture()!.pixels[0]).toBe(0);
  });

  it('has finished a fenced command when it answers, with the fence in the answer', () => {
    const { device, driver } = start();
    const pixels = paint(driver);
    send(driver, 0x103, [0, 0, 4, 2, 0, 7]);
    expect(device.picture()!.pixels[0]).toBe(0);
    const { type, answer, written } = send(driver, 0x105, [0, 0, 4, 2, 0, 0, 7, 0], 1200, 0, 0xfedc_ba98);
    expect([type, written, answer.getUint32(4, true), answer.getUint32(8, true), answer.getUint32(12, true)]).toEqual([OK, 24, 1, 0xfedc_ba98, 0]);
    expect(device.picture()!.pixels[0]).toBe(pixels[2]);
    // Errors have their fence, too; a command without one has none in its answer.
    const error = send(driver, 0x102, [99], 1200, 0, 5);
    expect([error.type, error.answer.getUint32(4, true), error.answer.getUint32(8, true)]).toEqual([BAD_RESOURCE, 1, 5]);
    expect(send(driver, 0x100, []).answer.getUint32(4, true)).toBe(0);
  });

  it('refuses what cannot be', () => {
    const { driver } = start(1000);
    paint(driver);
    const answers = [
      [0x101, [0, 1, 2, 2], BAD_RESOURCE],
      [0x101, [7, 1, 2, 2], BAD_RESOURCE],
      [0x101, [8, 99, 2, 2], BAD_PARAMETER],
      [0x101, [8, 1, 0, 2], BAD_PARAMETER],
      [0x101, [8, 1, 0xffffffff, 0xffffffff], BAD_PARAMETER],
      [0x101, [8, 1, 100, 100], 0x1201],
      [0x102, [9], BAD_RESOURCE],
      [0x103, [0, 0, 5, 2, 0, 7], BAD_PARAMETER],
      [0x103, [0xffffffff, 0, 2, 2, 0, 7], BAD_PARAMETER],
      [0x103, [0, 0, 4, 2, 1, 7], 0x1202],
      [0x104, [0, 1, 4, 2, 7, 0], BAD_PARAMETER],
      [0x105, [0, 0, 5, 2, 0, 0, 7, 0], BAD_PARAMETER],
      [0x105, [0, 0, 4, 2, 0, 0, 9, 0], BAD_RESOURCE],
      [0x106, [7, 0], 0x1200],
      [0x106, [9, 0], BAD_RESOURCE],
      [0x107, [9], BAD_RESOURCE],
      [0x107, [7], OK],
      [0x107, [7], 0x1200],
      [0x105, [0, 0, 4, 2, 0, 0, 7, 0], 0x1200],
      [0x106, [7, 5, 0, 0, 0, 0], BAD_PARAMETER],
      [0x777, [], 0x1200],
      [0x102, [7], OK],
    ] as const;
    for (const [type, words, wanted] of answers) expect([type, ...words, send(driver, type, words).type]).toEqual([type, ...words, wanted]);
    // What was given back can be used again.
    expect(send(driver, 0x101, [7, 1, 4, 2]).type).toBe(OK);
  });

  it('keeps its pictures in a snapshot, but not their pixels: those come from memory again', () => {
    const { device, driver, bench } = start();
    paint(driver);
    send(driver, 0x103, [0, 0, 4, 2, 0, 7]);
    send(driver, 0x105, [0, 0, 4, 2, 0, 0, 7, 0]);
    const before = device.picture();
    const saved: unknown = JSON.parse(JSON.stringify(bench.carrier.save()));
    bench.carrier.reset();
    expect(device.picture()).toBeUndefined();
    bench.carrier.load(saved);
    expect(device.picture()).toEqual(before);
  });

  it('hears of the pointer, and wants whole commands', () => {
    const { device, driver } = start();
    expect(send(driver, 0x300, [0, 30, 40, 0, 5, 0, 0, 0], 24, 1).type).toBe(OK);
    expect(device.cursor).toEqual({ resource: 5, x: 30, y: 40 });
    send(driver, 0x301, [0, 31, 41, 0, 0, 0, 0, 0], 24, 1);
    expect(device.cursor).toEqual({ resource: 5, x: 31, y: 41 });
    expect(() => driver.request(0, [new Uint8Array(10)], [24])).toThrow(RangeError);
    expect(device.violation?.clause).toBe('device-request');
  });
});
