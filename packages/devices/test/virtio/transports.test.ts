import { describe, expect, it } from 'vitest';
import { VirtioDevice, VirtioEntropy, VirtioFeature, type VirtioPci, type Virtqueue } from '../../src/virtio/index.js';
import { LegacyDriverTransport, MmioDriverTransport, type PciDriverTransport } from '../../src/virtio/testing/index.js';
import { Bench, MMIO_BASE } from './bench.js';

class Plain extends VirtioDevice {
  notifications = 0;
  constructor() {
    super({ name: 'plain', type: 2, queues: [16, 16], features: [3], configBytes: 12 });
    this.config.set([1, 2, 3, 4, 5, 6, 7, 8]);
  }
  protected override notified(queue: Virtqueue): void {
    for (let chain = queue.pop(); chain; chain = queue.pop()) queue.push(chain, 0);
    this.notifications++;
    queue.publish();
  }
}

describe.each(['pci', 'mmio'] as const)('initialization over %s', (transport) => {
  const start = () => {
    const device = new Plain();
    const bench = new Bench(device, { transport });
    return { device, bench, port: bench.transport };
  };

  it('offers VERSION_1 and refuses to go without, or with what was not offered', () => {
    const { port } = start();
    expect((port.features(1) & 1) === 1).toBe(true);
    expect(port.features(0) & 8).toBe(8);
    expect(port.features(2)).toBe(0);
    for (const [low, high] of [
      [8, 0],
      [16, 1],
      [0, 0x8000_0001],
    ]) {
      port.status = 0;
      port.status = 3;
      port.accept(0, low!);
      port.accept(1, high!);
      port.status = 11;
      expect(port.status).toBe(3);
    }
    port.accept(0, 8);
    port.accept(1, 1);
    port.status = 11;
    expect(port.status).toBe(11);
  });

  it('keeps features after FEATURES_OK, and status bits until a reset', () => {
    const { port, device } = start();
    port.status = 3;
    port.accept(0, 8);
    port.accept(1, 1);
    port.status = 11;
    port.accept(0, 0);
    expect(device.negotiated(3)).toBe(true);
    port.status = 1;
    expect(port.status).toBe(11);
    port.status = 0;
    expect(port.status).toBe(0);
    expect(device.negotiated(3)).toBe(false);
  });

  it('asks for a reset when DRIVER_OK comes without FEATURES_OK', () => {
    const { port, device } = start();
    port.status = 7;
    expect(port.status & 68).toBe(64);
    expect(device.violation?.clause).toBe('queue-enable-order');
  });

  it('has no queue beyond the last', () => {
    const { port, device, bench } = start();
    bench.start(2);
    expect([port.queueSize(0), port.queueSize(1), port.queueSize(2), port.queueSize(0xffff)]).toEqual([16, 16, 0, 0]);
    const before = device.notifications;
    if (transport === 'mmio') port.notify(2);
    port.resetQueue(7);
    expect(device.notifications).toBe(before);
  });

  it('shows configuration at every width, and its generation changes with it', () => {
    const { port, device } = start();
    expect([port.readConfig(0, 1), port.readConfig(2, 2), port.readConfig(4, 4)]).toEqual([1, 0x0403, 0x0807_0605]);
    expect(port.readConfig(12, 4)).toBe(0);
    const before = port.generation;
    device.configChanged();
    expect(port.generation).not.toBe(before);
    expect(port.takeInterrupts()).toBe(0);
  });

  it('interrupts when configuration changes while it runs; the line falls when that is acknowledged', () => {
    const { port, device, bench } = start();
    bench.start(1);
    device.configChanged();
    expect(bench.level).toBe(1);
    expect(port.takeInterrupts()).toBe(2);
    expect(bench.level).toBe(0);
    bench.start(1).request(0, [Uint8Array.of(1)], []);
    expect(bench.level).toBe(1);
    port.status = 0;
    expect(bench.level).toBe(0);
  });

  it('ignores notifications, enabling and configuration out of season', () => {
    const { port, device } = start();
    port.notify(0);
    port.writeConfig(0, 4, 0xffff_ffff);
    expect(device.notifications).toBe(0);
    expect(port.readConfig(0, 1)).toBe(1);
  });
});

describe('MMIO', () => {
  it('says who it is, and answers only whole words of registers', () => {
    const bench = new Bench(new Plain(), { transport: 'mmio' });
    const port = bench.transport as MmioDriverTransport;
    expect([port.get(0), port.get(4), port.get(8)]).toEqual([0x74726976, 2, 2]);
    expect([port.get(0xb0), port.get(0xb4), port.get(0xb8), port.get(0xbc)]).toEqual(Array(4).fill(0xffff_ffff));
    expect(bench.board.mmio.read(MMIO_BASE, 1)).toBe(0);
    bench.board.mmio.write(MMIO_BASE + 0x70, 1, 3);
    expect(port.status).toBe(0);
  });
});

describe('PCI', () => {
  const start = (vectors?: number) => {
    const device = new Plain();
    const bench = new Bench(device, { transport: 'pci' }, vectors);
    return { device, bench, port: bench.transport as PciDriverTransport, carrier: bench.carrier as VirtioPci };
  };

  it('identifies itself, and lists its structures', () => {
    const { bench, port } = start();
    expect(bench.config.read(0, 4)).toBe(0x1001_1af4);
    expect(bench.config.read(8, 4) >>> 8).toBe(0x01_0000);
    expect(bench.config.read(0x2e, 2)).toBe(2);
    expect([...port.structures.keys()].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
    expect(port.get(0x12, 2)).toBe(2);
    const entropy = new Bench(new VirtioEntropy({ fill: (bytes) => void bytes.fill(1) }), { transport: 'pci' });
    expect(entropy.config.read(2, 2)).toBe(0x1005);
  });

  it('answers the common configuration at every width', () => {
    const { port } = start();
    port.set(0x14, 4, 0x0001_0003);
    expect([port.get(0x14, 1), port.get(0x16, 2), port.get(0x14, 4)]).toEqual([3, 1, 0x0001_0003]);
    expect(port.get(0x18, 4)).toBe(0xffff_0010);
    expect(port.get(0x1e, 2)).toBe(1);
    port.set(0x16, 2, 9);
    expect([port.get(0x18, 2), port.get(0x1c, 2), port.get(0x20, 4)]).toEqual([0, 0, 0]);
  });

  it('grants MSI-X vectors that it has, sends them, and leaves the pin alone', () => {
    const { bench, port, device } = start(2);
    const msix = bench.config.read(0x34, 1);
    expect(bench.config.read(msix, 1)).toBe(0x11);
    bench.config.write(msix + 2, 2, 0x8000);
    bench.config.write(4, 2, 6);
    const table = bench.config.read(0x14, 4) & ~15;
    for (const vector of [0, 1]) {
      bench.board.mmio.write((table >>> 0) + 16 * vector, 4, 0xfee0_0000);
      bench.board.mmio.write((table >>> 0) + 16 * vector + 8, 4, 0x40 + vector);
      bench.board.mmio.write((table >>> 0) + 16 * vector + 12, 4, 0);
    }
    const driver = bench.start(1);
    port.set(0x10, 2, 7);
    expect(port.get(0x10, 2)).toBe(0xffff);
    port.set(0x10, 2, 0);
    port.set(0x16, 2, 0);
    port.set(0x1a, 2, 1);
    expect([port.get(0x10, 2), port.get(0x1a, 2)]).toEqual([0, 1]);
    driver.request(0, [Uint8Array.of(1)], []);
    device.configChanged();
    expect(bench.board.messages.map(({ data }) => data)).toEqual([0x41, 0x40]);
    expect(bench.level).toBe(0);
    port.status = 0;
    expect(port.get(0x10, 2)).toBe(0xffff);
  });

  it('reaches its BARs through the window in configuration space', () => {
    const { bench, port } = start();
    let at = bench.config.read(0x34, 1);
    while (bench.config.read(at, 1) !== 9 || bench.config.read(at + 3, 1) !== 5) at = bench.config.read(at + 1, 1);
    const reach = (offset: number, length: number) => {
      bench.config.write(at + 4, 1, 4);
      bench.config.write(at + 8, 4, offset);
      bench.config.write(at + 12, 4, length);
    };
    reach(0x14, 1);
    bench.config.write(at + 16, 4, 3);
    expect(port.status).toBe(3);
    expect(bench.config.read(at + 16, 1)).toBe(3);
    reach(0x2004, 4);
    expect(bench.config.read(at + 16, 4)).toBe(0x0807_0605);
    for (const [offset, length] of [
      [0x2000, 3],
      [0x2001, 2],
      [0x4000, 4],
      [0xffff_fffc, 4],
    ]) {
      reach(offset!, length!);
      bench.config.read(at + 16, 4);
      bench.config.write(at + 16, 4, 0);
    }
    expect(port.status).toBe(3);
  });

  it('has a legacy interface: one page number for a queue, no FEATURES_OK', () => {
    const bench = new Bench(new Plain(), { transport: 'legacy' });
    const driver = bench.start(2);
    expect(bench.transport).toBeInstanceOf(LegacyDriverTransport);
    expect(bench.transport.isEnabled(1)).toBe(true);
    driver.request(1, [Uint8Array.of(1)], []);
    expect(bench.level).toBe(1);
    expect(bench.transport.takeInterrupts()).toBe(1);
    expect(bench.device.negotiated(VirtioFeature.VERSION_1)).toBe(false);
    expect(bench.transport.readConfig(4, 4)).toBe(0x0807_0605);
    bench.transport.resetQueue(1);
    expect(bench.transport.isEnabled(1)).toBe(false);
  });
});

it('entropy fills what it is given, and refuses requests with bytes to read', () => {
  const bench = new Bench(new VirtioEntropy({ fill: (bytes) => void bytes.fill(0xa5) }), { transport: 'mmio' });
  const driver = bench.start(1);
  expect(driver.request(0, [], [7, 9])).toEqual({ written: 16, bytes: new Uint8Array(16).fill(0xa5) });
  driver.queues[0]!.add([driver.place(Uint8Array.of(1)), driver.room(4)]);
  driver.kick(0);
  expect(bench.device.violation?.clause).toBe('device-request');
});
