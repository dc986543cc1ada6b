import type { Width } from '@nestvm/bus';
import { type VirtioDevice, VirtioFeature } from '../../src/virtio/index.js';
import type { VirtioDriver } from '../../src/virtio/testing/index.js';
import { random } from '../board.js';
import { type Bench, MMIO_BASE, type Way } from './bench.js';

const WIDTHS: readonly Width[] = [1, 2, 4];

/** A request of a good driver: what the device reads, and room for its answer. */
export interface HonestRequest {
  readonly queue: number;
  readonly readable: readonly Uint8Array[];
  readonly rooms: readonly number[];
}

/** A device to be attacked: how a good driver would talk to it, and what its host does meanwhile. */
export interface Victim {
  readonly device: VirtioDevice;
  readonly honest: (below: (limit: number) => number) => HonestRequest;
  readonly host?: (below: (limit: number) => number) => void;
}

/** A hostile guest: registers at every width in every state, rings with bytes changed at random, honest requests in between, rings that lie nowhere, resets, snapshots. */
export class Hostile {
  readonly below: (limit: number) => number;
  readonly counts: Record<string, number> = {};
  driver: VirtioDriver | undefined;
  violations = 0;
  answers = 0;

  constructor(
    readonly bench: Bench,
    readonly victim: Victim,
    readonly way: Way,
    seed: number,
  ) {
    this.below = random(seed);
    bench.device.onViolation = () => this.violations++;
  }

  step(): void {
    const choice = this.below(1000);
    if (choice < 350) this.register();
    else if (choice < 600) this.corrupt();
    else if (choice < 700) this.notify();
    else if (choice < 930) this.honest();
    else if (choice < 960) this.restart();
    else if (choice < 965) this.misplace();
    else if (choice < 970) this.snapshot();
    else this.input();
  }

  private count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  private register(): void {
    this.count('register accesses');
    const { below, way, bench } = this;
    const { board } = bench;
    const width = WIDTHS[below(3)]!;
    const value = below(4) === 0 ? below(2 ** 32) : below(20);
    const writing = below(3) > 0;
    if (way.transport === 'mmio') {
      const at = MMIO_BASE + below(0x180 / width) * width;
      if (writing) board.mmio.write(at, width, value);
      else board.mmio.read(at, width);
      return;
    }
    const legacy = way.transport === 'legacy';
    const bar = legacy ? bench.config.read(0x10, 4) & ~3 : (bench.config.read(0x20, 4) & ~15) >>> 0;
    const space = legacy ? board.ports : board.mmio;
    const offset = legacy ? below(0x40) : [0, 0, 0, 0x1000, 0x2000, 0x3000][below(6)]! + below(0x44);
    if (writing) space.write(bar + offset, width, value);
    else space.read(bar + offset, width);
    if (below(400) === 0) bench.config.write(0x40 + below(0xb0), 1, below(256));
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
    const { driver, victim } = this;
    if (driver === undefined || driver.queues.length === 0) return;
    const { queue, readable, rooms } = victim.honest(this.below);
    try {
      // A part that is not there, or is cut short, now and then.
      const parts = this.below(8) === 0 ? readable.map((part) => part.subarray(0, this.below(part.length + 1))) : readable;
      driver.request(this.below(8) === 0 ? this.below(driver.queues.length) : queue % driver.queues.length, parts, rooms);
      this.answers++;
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
        ...(this.below(4) === 0 ? { features: [VirtioFeature.INDIRECT_DESC] } : {}),
      });
    } catch (error) {
      // The BARs may have been moved away: put them back.
      if (!(error instanceof Error)) throw error;
      bench.carrier.reset();
      this.driver = undefined;
    }
  }

  /** A queue whose parts are registers of the device itself, or nothing at all. */
  private misplace(): void {
    this.count('rings in no RAM');
    const { bench } = this;
    if (this.way.transport === 'legacy') return;
    bench.transport.resetQueue(0);
    const places = [MMIO_BASE, 0xfec0_0000, 0, 0x7fff_fff0, 2 ** 40, bench.memory.base + bench.memory.bytes.length - 16];
    const place = (): number => places[this.below(places.length)]!;
    bench.transport.enable(0, { size: 8, descriptors: place(), driver: place(), device: place() } as VirtioDriver['queues'][number]);
    bench.transport.notify(0);
  }

  private snapshot(): void {
    this.count('snapshots');
    const saved = JSON.parse(JSON.stringify(this.bench.carrier.save())) as unknown;
    this.bench.carrier.load(saved);
  }

  private input(): void {
    this.count('host inputs');
    if (this.victim.host && this.below(4) > 0) this.victim.host(this.below);
    else this.bench.device.configChanged();
  }
}
