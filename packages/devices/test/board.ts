import { type GuestMemory, type Line, MmioSpace, PortSpace, VirtualClock, type Width, type Wiring } from '@nestvm/bus';
import { InterruptRouting, type RoutingOptions } from '../src/platform/interrupt-routing.js';
import { PlatformWiring } from '../src/platform/wiring.js';

/** Guest memory for tests: `bytes` from address 0, holes above. */
export class TestMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  constructor(size = 0x1_0000) {
    this.bytes = new Uint8Array(size);
  }

  read(address: number, target: Uint8Array): void {
    const there = this.bytes.subarray(address, address + target.length);
    target.set(there);
    target.fill(0xff, there.length);
  }

  write(address: number, source: Uint8Array): void {
    if (address < this.bytes.length) this.bytes.set(source.subarray(0, this.bytes.length - address), address);
  }
}

/** A bench for one or more devices: real spaces and clock; every line keeps its level and the number of its rising edges. */
export class TestBoard {
  readonly ports = new PortSpace();
  readonly mmio = new MmioSpace();
  readonly clock = new VirtualClock();
  readonly memory = new TestMemory();
  readonly levels = new Map<string, number>();
  readonly edges = new Map<string, number>();
  readonly messages: { address: number; data: number }[] = [];

  /** Wiring whose lines are recorded by name, with no interrupt controller. */
  readonly wiring: Wiring = {
    pio: (region) => this.ports.claim(region),
    mmio: (region) => this.mmio.claim(region),
    line: (name) => this.line(name),
    msi: () => ({ send: (address, data) => this.messages.push({ address, data }) }),
    clock: this.clock,
    dma: this.memory,
  };

  /** Wiring with real interrupt routing; other lines are recorded. */
  routed(controllers: RoutingOptions): PlatformWiring {
    const { ports, mmio, clock, memory: dma } = this;
    const routing = new InterruptRouting(controllers);
    const lines = Object.fromEntries(
      ['a20', 'reset', 'nmi', 'smi', 'poweroff', 'suspend'].map((name) => [name, (level: 0 | 1) => this.set(name, level)]),
    );
    return new PlatformWiring({ ports, mmio, clock, dma, routing, lines, msi: this.wiring.msi() });
  }

  line(name: string): Line {
    let own: 0 | 1 = 0;
    return {
      set: (level) => {
        if (level !== own) this.set(name, level);
        own = level;
      },
    };
  }

  set(name: string, level: 0 | 1): void {
    this.levels.set(name, level);
    if (level) this.edges.set(name, (this.edges.get(name) ?? 0) + 1);
  }

  level(name: string): number {
    return this.levels.get(name) ?? 0;
  }

  edgeCount(name: string): number {
    return this.edges.get(name) ?? 0;
  }

  in(port: number, width: Width = 1): number {
    return this.ports.read(port, width);
  }

  out(port: number, value: number, width: Width = 1): void {
    this.ports.write(port, width, value);
  }

  /** Lets time pass, stopping at each deadline as a halted machine would; returns the number of turns. */
  run(ns: number): number {
    const end = this.clock.nowNs() + ns;
    let turns = 0;
    for (let next = this.clock.nextDeadlineNs(); next <= end; next = this.clock.nextDeadlineNs()) {
      this.clock.advanceTo(Math.max(next, this.clock.nowNs()));
      if (++turns > 1_000_000) throw new Error('a timer never stops firing');
    }
    this.clock.advanceTo(end);
    return turns;
  }
}

/** A small repeatable generator (xorshift32). */
export function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}
