import { type Device, type GuestMemory, MmioSpace, PortSpace, VirtualClock, type Wiring } from '@nestvm/bus';

/** Memory of a bench: 64 KiB from address 0, holes above. */
class BenchMemory implements GuestMemory {
  readonly bytes = new Uint8Array(0x1_0000);

  read(address: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.bytes[address + i] ?? 0xff;
  }

  write(address: number, source: Uint8Array): void {
    for (let i = 0; i < source.length; i++) if (address + i < this.bytes.length) this.bytes[address + i] = source[i]!;
  }
}

/** One device alone on real buses and a real clock; what it drives is written down in `events`. */
export class DeviceBench {
  readonly ports = new PortSpace();
  readonly mmio = new MmioSpace();
  readonly clock = new VirtualClock();
  readonly memory = new BenchMemory();
  /** Lines driven and messages sent, in order. */
  readonly events: string[] = [];

  constructor(readonly device: Device) {
    const wiring: Wiring = {
      pio: (region) => this.ports.claim(region),
      mmio: (region) => this.mmio.claim(region),
      line: (name) => ({ set: (level) => void this.events.push(`${name}=${level}`) }),
      msi: () => ({ send: (address, data) => void this.events.push(`msi ${address.toString(16)} ${data.toString(16)}`) }),
      clock: this.clock,
      dma: this.memory,
    };
    device.attach(wiring);
    device.reset();
    this.events.length = 0;
  }

  /** Lets time pass, stopping at each deadline; returns the number of turns, which `most` bounds. */
  pass(ns: number, most: number): number {
    const end = this.clock.nowNs() + ns;
    let turns = 0;
    for (let next = this.clock.nextDeadlineNs(); next <= end && turns < most; next = this.clock.nextDeadlineNs()) {
      this.clock.advanceTo(Math.max(next, this.clock.nowNs()));
      turns++;
    }
    this.clock.advanceTo(end);
    return turns;
  }
}
