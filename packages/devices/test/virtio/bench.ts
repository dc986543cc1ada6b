import type { Width, Wiring } from '@nestvm/bus';
import { addI440Fx, assignPciResources, PciHost } from '../../src/platform/index.js';
import { type VirtioDevice, VirtioFeature, VirtioMmio, VirtioPci } from '../../src/virtio/index.js';
import {
  DriverMemory,
  type DriverTransport,
  LegacyDriverTransport,
  MmioDriverTransport,
  PciDriverTransport,
  VirtioDriver,
} from '../../src/virtio/testing/index.js';
import { TestBoard } from '../board.js';

/** Transports and rings on which every device is tested. */
export const ways = [
  { transport: 'pci', packed: false },
  { transport: 'pci', packed: true },
  { transport: 'mmio', packed: false },
  { transport: 'mmio', packed: true },
  { transport: 'legacy', packed: false },
] as const;
export type Way = (typeof ways)[number];

export const MMIO_BASE = 0xfeb0_0000;

/** A device on a transport, with a driver's view of it. */
export class Bench {
  readonly board = new TestBoard();
  readonly memory = new DriverMemory(0x80_0000);
  readonly carrier: VirtioPci | VirtioMmio;
  readonly transport: DriverTransport;
  readonly slot = 3;

  constructor(
    readonly device: VirtioDevice,
    readonly way: Pick<Way, 'transport'> & { readonly packed?: boolean },
    vectors?: number,
  ) {
    const wiring: Wiring = { ...this.board.wiring, dma: this.memory };
    if (way.transport === 'mmio') {
      this.carrier = new VirtioMmio({ device, base: MMIO_BASE, line: 'gsi:16' });
      this.carrier.attach(wiring);
      this.transport = new MmioDriverTransport(this.board.mmio, MMIO_BASE);
      return;
    }
    const host = new PciHost();
    addI440Fx(host);
    this.carrier = new VirtioPci({ device, ...(vectors === undefined ? {} : { vectors }) });
    this.carrier.attach(wiring);
    host.add(this.slot, this.carrier.pci);
    host.attach(wiring);
    host.reset();
    assignPciResources(host, { ioBase: 0xc000, ioLimit: 0x1_0000, memoryBase: 0xe000_0000, memoryLimit: 0xfec0_0000 });
    const reach = { config: this.config, memory: this.board.mmio, ports: this.board.ports };
    this.transport = way.transport === 'legacy' ? new LegacyDriverTransport(reach) : new PciDriverTransport(reach);
  }

  /** The function's configuration space, through the ports. */
  readonly config = {
    read: (register: number, width: Width): number => {
      this.select(register);
      return this.board.in(0xcfc + (register & 3), width);
    },
    write: (register: number, width: Width, value: number): void => {
      this.select(register);
      this.board.out(0xcfc + (register & 3), value, width);
    },
  };

  /** A driver that is up; `features` beside VERSION_1 and, when the way says so, RING_PACKED. */
  start(
    queues: number,
    options: { readonly features?: readonly number[]; readonly indirect?: boolean; readonly queueSize?: number } = {},
  ): VirtioDriver {
    const { way, transport, memory } = this;
    const legacy = way.transport === 'legacy';
    const basic = [VirtioFeature.VERSION_1, ...(way.packed ? [VirtioFeature.RING_PACKED] : [])];
    const all = Array.from({ length: 64 }, (_, bit) => bit).filter(
      (bit) => bit !== VirtioFeature.RING_PACKED && bit !== VirtioFeature.IN_ORDER && bit !== VirtioFeature.NOTIFICATION_DATA,
    );
    const features = [...basic, ...(options.features ?? all)];
    const driver = new VirtioDriver({
      transport,
      memory,
      legacy,
      features,
      ...(options.indirect === undefined ? {} : { indirect: options.indirect }),
      ...(options.queueSize === undefined ? {} : { queueSize: options.queueSize }),
    });
    if (!driver.start(queues)) throw new Error('the device did not take the features');
    return driver;
  }

  /** Level of the device's interrupt line. */
  get level(): number {
    return this.board.level(this.way.transport === 'mmio' ? 'gsi:16' : 'isa:11') + this.board.level('isa:10');
  }

  private select(register: number): void {
    this.board.out(0xcf8, 0x8000_0000 + this.slot * 0x800 + (register & 0xfc), 4);
  }
}
