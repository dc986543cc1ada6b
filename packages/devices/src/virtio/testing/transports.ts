import type { Width } from '@nestvm/bus';
import { MMIO_MAGIC, MmioRegister } from '../transports/mmio/registers.js';
import { CommonConfig, LEGACY_PAGE, LegacyConfig, PciStructure } from '../transports/pci/registers.js';
import type { DriverQueue } from './queue.js';

/** A space of addresses: `PortSpace` and `MmioSpace` are such. */
export interface AddressSpace {
  read(address: number, width: Width): number;
  write(address: number, width: Width, value: number): void;
}

/** A device's registers as a driver uses them, over any transport. */
export interface DriverTransport {
  status: number;
  readonly generation: number;
  features(word: number): number;
  accept(word: number, value: number): void;
  queueSize(queue: number): number;
  /** Announces a queue and enables it. `vector` is for MSI-X. */
  enable(queue: number, ring: DriverQueue, vector?: number): void;
  isEnabled(queue: number): boolean;
  resetQueue(queue: number): void;
  notify(queue: number, data?: number): void;
  readConfig(offset: number, width: Width): number;
  writeConfig(offset: number, width: Width, value: number): void;
  /** Interrupt status, which is acknowledged. */
  takeInterrupts(): number;
}

const split = (address: number): readonly [number, number] => [address % 2 ** 32, Math.floor(address / 2 ** 32)];

/** Virtio over MMIO, version 2. */
export class MmioDriverTransport implements DriverTransport {
  constructor(
    private readonly space: AddressSpace,
    private readonly base: number,
  ) {
    if (this.get(MmioRegister.MAGIC) !== MMIO_MAGIC) throw new RangeError(`no virtio device at 0x${base.toString(16)}`);
  }

  /** A register, for tests of the transport itself. */
  get(register: number): number {
    return this.space.read(this.base + register, 4);
  }

  set(register: number, value: number): void {
    this.space.write(this.base + register, 4, value);
  }

  get status(): number {
    return this.get(MmioRegister.STATUS);
  }

  set status(value: number) {
    this.set(MmioRegister.STATUS, value);
  }

  get generation(): number {
    return this.get(MmioRegister.GENERATION);
  }

  features(word: number): number {
    this.set(MmioRegister.DEVICE_FEATURES_SELECT, word);
    return this.get(MmioRegister.DEVICE_FEATURES);
  }

  accept(word: number, value: number): void {
    this.set(MmioRegister.DRIVER_FEATURES_SELECT, word);
    this.set(MmioRegister.DRIVER_FEATURES, value);
  }

  queueSize(queue: number): number {
    this.set(MmioRegister.QUEUE_SELECT, queue);
    return this.get(MmioRegister.QUEUE_SIZE_MAX);
  }

  enable(queue: number, ring: DriverQueue): void {
    this.set(MmioRegister.QUEUE_SELECT, queue);
    this.set(MmioRegister.QUEUE_SIZE, ring.size);
    const registers = [MmioRegister.QUEUE_DESCRIPTORS, MmioRegister.QUEUE_DRIVER, MmioRegister.QUEUE_DEVICE];
    [ring.descriptors, ring.driver, ring.device].forEach((address, i) => {
      split(address).forEach((word, half) => this.set(registers[i]! + 4 * half, word));
    });
    this.set(MmioRegister.QUEUE_READY, 1);
  }

  isEnabled(queue: number): boolean {
    this.set(MmioRegister.QUEUE_SELECT, queue);
    return this.get(MmioRegister.QUEUE_READY) === 1;
  }

  resetQueue(queue: number): void {
    this.set(MmioRegister.QUEUE_SELECT, queue);
    this.set(MmioRegister.QUEUE_RESET, 1);
  }

  notify(queue: number, data = 0): void {
    this.set(MmioRegister.QUEUE_NOTIFY, queue | (data << 16));
  }

  readConfig(offset: number, width: Width): number {
    return this.space.read(this.base + MmioRegister.CONFIG + offset, width);
  }

  writeConfig(offset: number, width: Width, value: number): void {
    this.space.write(this.base + MmioRegister.CONFIG + offset, width, value);
  }

  takeInterrupts(): number {
    const status = this.get(MmioRegister.INTERRUPT_STATUS);
    this.set(MmioRegister.INTERRUPT_ACK, status);
    return status;
  }
}

/** How a PCI function is reached: its configuration space, and its BARs' spaces. */
export interface PciReach {
  readonly config: AddressSpace;
  readonly memory: AddressSpace;
  readonly ports: AddressSpace;
}

/** Virtio over PCI, the modern interface: found by its capabilities. */
export class PciDriverTransport implements DriverTransport {
  /** Address of each structure by its type (`PciStructure`), and the bytes it has. */
  readonly structures = new Map<number, { readonly at: number; readonly length: number }>();
  private stride = 0;

  constructor(private readonly reach: PciReach) {
    const { config } = reach;
    for (let at = config.read(0x34, 1); at !== 0; at = config.read(at + 1, 1)) {
      if (config.read(at, 1) !== 9) continue;
      const type = config.read(at + 3, 1);
      const bar = 0x10 + 4 * config.read(at + 4, 1);
      const base = config.read(bar, 4);
      const address = (base & ~15) + (base & 4 ? config.read(bar + 4, 4) * 2 ** 32 : 0);
      const place = { at: (address >>> 0) + config.read(at + 8, 4), length: config.read(at + 12, 4) };
      if (!this.structures.has(type)) this.structures.set(type, place);
      if (type === PciStructure.NOTIFY) this.stride = config.read(at + 16, 4);
    }
  }

  /** A register of the common configuration, for tests of the transport itself. */
  get(register: number, width: Width): number {
    return this.reach.memory.read(this.place(PciStructure.COMMON) + register, width);
  }

  set(register: number, width: Width, value: number): void {
    this.reach.memory.write(this.place(PciStructure.COMMON) + register, width, value);
  }

  get status(): number {
    return this.get(CommonConfig.STATUS, 1);
  }

  set status(value: number) {
    this.set(CommonConfig.STATUS, 1, value);
  }

  get generation(): number {
    return this.get(CommonConfig.GENERATION, 1);
  }

  features(word: number): number {
    this.set(CommonConfig.DEVICE_FEATURE_SELECT, 4, word);
    return this.get(CommonConfig.DEVICE_FEATURE, 4);
  }

  accept(word: number, value: number): void {
    this.set(CommonConfig.DRIVER_FEATURE_SELECT, 4, word);
    this.set(CommonConfig.DRIVER_FEATURE, 4, value);
  }

  queueSize(queue: number): number {
    this.set(CommonConfig.QUEUE_SELECT, 2, queue);
    return this.get(CommonConfig.QUEUE_SIZE, 2);
  }

  enable(queue: number, ring: DriverQueue, vector?: number): void {
    this.set(CommonConfig.QUEUE_SELECT, 2, queue);
    this.set(CommonConfig.QUEUE_SIZE, 2, ring.size);
    [ring.descriptors, ring.driver, ring.device].flatMap(split).forEach((word, i) => this.set(CommonConfig.QUEUE_WORDS + 4 * i, 4, word));
    if (vector !== undefined) this.set(CommonConfig.QUEUE_VECTOR, 2, vector);
    this.set(CommonConfig.QUEUE_ENABLE, 2, 1);
  }

  isEnabled(queue: number): boolean {
    this.set(CommonConfig.QUEUE_SELECT, 2, queue);
    return this.get(CommonConfig.QUEUE_ENABLE, 2) === 1;
  }

  resetQueue(queue: number): void {
    this.set(CommonConfig.QUEUE_SELECT, 2, queue);
    this.set(CommonConfig.QUEUE_RESET, 2, 1);
  }

  notify(queue: number, data?: number): void {
    this.set(CommonConfig.QUEUE_SELECT, 2, queue);
    const at = this.place(PciStructure.NOTIFY) + this.get(CommonConfig.QUEUE_NOTIFY_OFF, 2) * this.stride;
    if (data === undefined) this.reach.memory.write(at, 2, queue);
    else this.reach.memory.write(at, 4, (queue | (data << 16)) >>> 0);
  }

  readConfig(offset: number, width: Width): number {
    return this.reach.memory.read(this.place(PciStructure.DEVICE) + offset, width);
  }

  writeConfig(offset: number, width: Width, value: number): void {
    this.reach.memory.write(this.place(PciStructure.DEVICE) + offset, width, value);
  }

  takeInterrupts(): number {
    return this.reach.memory.read(this.place(PciStructure.ISR), 1);
  }

  private place(type: number): number {
    return this.structures.get(type)?.at ?? 0;
  }
}

/** Virtio over PCI, the legacy interface in ports. */
export class LegacyDriverTransport implements DriverTransport {
  readonly generation = 0;
  private readonly base: number;

  constructor(private readonly reach: PciReach) {
    this.base = reach.config.read(0x10, 4) & ~3;
  }

  get status(): number {
    return this.reach.ports.read(this.base + LegacyConfig.STATUS, 1);
  }

  set status(value: number) {
    this.reach.ports.write(this.base + LegacyConfig.STATUS, 1, value);
  }

  features(word: number): number {
    return word === 0 ? this.reach.ports.read(this.base + LegacyConfig.DEVICE_FEATURES, 4) : 0;
  }

  accept(word: number, value: number): void {
    if (word === 0) this.reach.ports.write(this.base + LegacyConfig.DRIVER_FEATURES, 4, value);
  }

  queueSize(queue: number): number {
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_SELECT, 2, queue);
    return this.reach.ports.read(this.base + LegacyConfig.QUEUE_SIZE, 2);
  }

  /** The ring must lie as the legacy interface has it: see `legacyLayout`. */
  enable(queue: number, ring: DriverQueue): void {
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_SELECT, 2, queue);
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_PAGE, 4, ring.descriptors / LEGACY_PAGE);
  }

  isEnabled(queue: number): boolean {
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_SELECT, 2, queue);
    return this.reach.ports.read(this.base + LegacyConfig.QUEUE_PAGE, 4) !== 0;
  }

  resetQueue(queue: number): void {
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_SELECT, 2, queue);
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_PAGE, 4, 0);
  }

  notify(queue: number): void {
    this.reach.ports.write(this.base + LegacyConfig.QUEUE_NOTIFY, 2, queue);
  }

  readConfig(offset: number, width: Width): number {
    return this.reach.ports.read(this.base + LegacyConfig.DEVICE + offset, width);
  }

  writeConfig(offset: number, width: Width, value: number): void {
    this.reach.ports.write(this.base + LegacyConfig.DEVICE + offset, width, value);
  }

  takeInterrupts(): number {
    return this.reach.ports.read(this.base + LegacyConfig.ISR, 1);
  }
}
