import type { Width } from '@nestvm/bus';
import { describe, expect, it } from 'vitest';
import { MemoryDisk, VirtioBlock, VirtioConsole, type VirtioDevice, VirtioEntropy, VirtioFeature } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { random } from '../board.js';
import { Bench, MMIO_BASE, type Way, ways } from './bench.js';

/** Operations for each device on each way: over a million for every device. */
const OPERATIONS = 210_000;
const WIDTHS: readonly Width[] = [1, 2, 4];

const devices: Readonly<Record<string, (packed: boolean) => VirtioDevice>> = {
  block: (packed) => new VirtioBlock({ disk: new MemoryDisk(1 << 20), packed, queues: 2, queueSize: 16 }),
  entropy: (packed) => new VirtioEntropy({ fill: (bytes) => void bytes.fill(7), packed }),
  console: (packed) =>
    new VirtioConsole({
      ports: [
        { console: true, write: () => {} },
        { name: 'port', write: () => {} },
      ],
      packed,
    }),
};

/** A hostile guest: registers at every width, rings with bytes changed at random, honest requests in between, resets, snapshots. */
class Hostile {
  readonly below: (limit: number) => number;
  readonly counts: Record<string, number> = {};
  driver: VirtioDriver | undefined;
  violations = 0;

  constructor(
    readonly bench: Bench,
    readonly way: Way,
    seed: number,
  ) {
    this.below = random(seed);
    bench.device.onViolation = () => this.violations++;
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  step(): void {
    const choice = this.below(100);
    if (choice < 40) this.register();
    else if (choice < 75) this.corrupt();
    else if (choice < 90) this.notify();
    else if (choice < 97) this.honest();
    else if (choice < 98) this.restart();
    else if (choice === 98) this.snapshot();
    else this.input();
  }

  private register(): void {
    this.count('register accesses');
    const { board, way: _way } = { board: this.bench.board, way: this.way };
    const width = WIDTHS[this.below(3)]!;
    const value = this.below(4) === 0 ? this.below(2 ** 32) : this.below(20);
    const writing = this.below(3) > 0;
    if (this.way.transport === 'mmio') {
      const at = MMIO_BASE + this.below(0x180 / width) * width;
      if (writing) board.mmio.write(at, width, value);
      else board.mmio.read(at, width);
      return;
    }
    const bar = this.way.transport === 'legacy' ? this.bench.config.read(0x10, 4) & ~3 : (this.bench.config.read(0x20, 4) & ~15) >>> 0;
    const space = this.way.transport === 'legacy' ? board.ports : board.mmio;
    const offset = this.way.transport === 'legacy' ? this.below(0x40) : [0, 0, 0, 0x1000, 0x2000, 0x3000][this.below(6)]! + this.below(0x44);
    if (writing) space.write(bar + offset, width, value);
    else space.read(bar + offset, width);
    if (this.below(50) === 0) this.bench.config.write(0x40 + this.below(0xb0), 1, this.below(256));
  }

  private corrupt(): void {
    this.count('ring mutations');
    const ring = this.driver?.queues[this.below(this.driver.queues.length || 1)];
    if (ring === undefined) return;
    const { memory } = this.bench;
    const area = [ring.descriptors, ring.descriptors, ring.driver, ring.device][this.below(4)]!;
    const at = area + 2 * this.below(this.below(4) === 0 ? 256 : 24);
    const values = [this.below(0x1_0000), this.below(20), 1, 2, 3, 4, 7, 0x80, 0x8000, 0x81, 0x1000];
    memory.setU16(at, values[this.below(values.length)]!);
  }

  private notify(): void {
    this.count('notifications');
    this.bench.transport.notify(this.below(6), this.below(3) === 0 ? this.below(0x1_0000) : undefined);
  }

  /** A request as a good driver makes it; the ring may be damaged, so that its answer means nothing. */
  private honest(): void {
    this.count('requests');
    const { driver } = this;
    if (driver === undefined || driver.queues.length === 0) return;
    try {
      const header = Uint8Array.from({ length: 16 }, (_, i) => (i === 0 ? this.below(14) : i === 8 ? this.below(256) : 0));
      driver.request(this.below(driver.queues.length), this.below(3) === 0 ? [] : [header, new Uint8Array(16 * this.below(40))], [
        16 * this.below(40),
        1,
      ]);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }

  private restart(): void {
    this.count('restarts');
    const { bench } = this;
    bench.memory.releaseAll();
    try {
      this.driver = bench.start(bench.device.queues.length, {
        indirect: this.below(2) === 0,
        ...(this.below(2) === 0 ? { features: [VirtioFeature.INDIRECT_DESC] } : {}),
      });
    } catch (error) {
      // The BARs may have been moved away: put them back.
      if (!(error instanceof Error)) throw error;
      this.driver = undefined;
    }
  }

  private snapshot(): void {
    this.count('snapshots');
    const saved = JSON.parse(JSON.stringify(this.bench.carrier.save())) as unknown;
    this.bench.carrier.load(saved);
  }

  private input(): void {
    this.count('host inputs');
    const { device } = this.bench;
    if (device instanceof VirtioConsole) device.receive(this.below(2), new Uint8Array(this.below(6)));
    else device.configChanged();
  }
}

describe.each(Object.keys(devices))('a hostile guest of virtio %s', (name) => {
  it.each(ways)(
    'over $transport, packed $packed, neither throws nor hangs',
    (way) => {
      const bench = new Bench(devices[name]!(way.packed), way);
      const hostile = new Hostile(bench, way, 11 + way.transport.length + (way.packed ? 1 : 0));
      for (let i = 0; i < OPERATIONS; i++) hostile.step();
      console.log(
        `virtio ${name}, ${way.transport}${way.packed ? ' packed' : ''}: ${OPERATIONS} operations`,
        hostile.counts,
        `${hostile.violations} violations`,
      );
      expect(hostile.violations).toBeGreaterThan(20);
      // It still works for a good driver.
      bench.carrier.reset();
      bench.memory.releaseAll();
      expect(bench.start(1).queues.length).toBe(1);
    },
    240_000,
  );
});
