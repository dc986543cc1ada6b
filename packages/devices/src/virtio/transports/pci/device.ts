import type { Device, Width, Wiring } from '@nestvm/bus';
import { DeviceError } from '../../../errors.js';
import type { PciFunction } from '../../../platform/pci/function.js';
import type { SavableDevice } from '../../../saved-state.js';
import type { VirtioDevice } from '../../device.js';
import { InterruptStatus, NO_VECTOR } from '../../registers.js';
import { type SavedVirtioPci, virtioPciSchema } from '../../state.js';
import { type PciRegisters, readCommon, writeCommon } from './configuration.js';
import { VirtioFunction } from './function.js';
import { readLegacy, writeLegacy } from './legacy.js';
import { CommonConfig, MODERN_ID_BASE, ModernLayout, NOTIFY_STRIDE, PciStructure, pciClassOf, TRANSITIONAL_IDS, VIRTIO_VENDOR } from './registers.js';

const BAR = { LEGACY: 0, MSIX: 1, MODERN: 4 } as const;

/** How a device is put on PCI. */
export interface VirtioPciOptions {
  readonly device: VirtioDevice;
  /** Interfaces: both (`transitional`, the default for types that have a legacy one), or one. */
  readonly mode?: 'transitional' | 'modern' | 'legacy';
  /** MSI-X vectors (default one for each queue and one for configuration changes); 0: only the interrupt pin. */
  readonly vectors?: number;
}

/** A virtio device on PCI ("VIRTIO", Virtio Over PCI Bus): put `pci` into a slot of the host, and attach this. */
export class VirtioPci implements Device, SavableDevice<SavedVirtioPci>, PciRegisters {
  readonly name: string;
  readonly device: VirtioDevice;
  /** The function for a slot of `PciHost`. */
  readonly pci: PciFunction;
  readonly select = new Uint32Array(3);
  readonly vectors: Uint16Array;
  readonly vectorCount: number;
  private interruptStatus = 0;

  constructor(options: VirtioPciOptions) {
    const { device } = options;
    const legacyId = TRANSITIONAL_IDS[device.type];
    const mode = options.mode ?? (legacyId === undefined ? 'modern' : 'transitional');
    if (mode !== 'modern' && legacyId === undefined)
      throw new DeviceError('bad-option', `${device.name}: devices of type ${device.type} have no legacy interface; use mode modern`);
    this.device = device;
    this.name = device.name;
    this.vectorCount = options.vectors ?? device.queues.length + 1;
    this.vectors = new Uint16Array(device.queues.length + 1).fill(NO_VECTOR);
    const pci = new VirtioFunction({
      name: `${device.name}/pci`,
      vendor: VIRTIO_VENDOR,
      device: mode === 'modern' ? MODERN_ID_BASE + device.type : legacyId!,
      revision: mode === 'modern' ? 1 : 0,
      classCode: pciClassOf(device.type),
      subsystemVendor: VIRTIO_VENDOR,
      subsystem: mode === 'modern' ? 0x1100 : device.type,
      interruptPin: 1,
    });
    this.pci = pci;
    if (this.vectorCount > 0) pci.addMsix(this.vectorCount, BAR.MSIX);
    if (mode !== 'legacy') this.addModern(pci);
    if (mode !== 'modern') this.addLegacy(pci);
  }

  /** Connects the device; the function is the host's. */
  attach(wiring: Wiring): void {
    this.device.connect({
      memory: wiring.dma,
      clock: wiring.clock,
      queueInterrupt: (queue) => this.interrupt(this.vectors[queue]!, InterruptStatus.QUEUE),
      configInterrupt: () => this.interrupt(this.vectors.at(-1)!, InterruptStatus.CONFIG),
    });
  }

  reset(): void {
    this.device.reset();
    this.forget();
  }

  /** Writes the status; 0 resets the transport's registers too. */
  setStatus(value: number, legacy: boolean): void {
    this.device.setStatus(value, legacy);
    if (value === 0) this.forget();
  }

  get messagesEnabled(): boolean {
    return this.pci.msix?.enabled === true;
  }

  readIsr(): number {
    const status = this.interruptStatus;
    this.interruptStatus = 0;
    this.pci.setIntx(0);
    return status;
  }

  save(): SavedVirtioPci {
    return { device: this.device.save(), select: [...this.select], vectors: [...this.vectors], interruptStatus: this.interruptStatus };
  }

  load(saved: unknown): void {
    const state = virtioPciSchema.check(saved, this.name);
    if (state.vectors.length !== this.vectors.length)
      throw new DeviceError('bad-state', `${this.name}: the snapshot has other queues; restore with the same options`);
    this.select.set(state.select);
    this.vectors.set(state.vectors);
    this.interruptStatus = state.interruptStatus & 3;
    this.device.load(state.device);
  }

  private forget(): void {
    this.vectors.fill(NO_VECTOR);
    this.select.fill(0);
    this.interruptStatus = 0;
    this.pci.setIntx(0);
  }

  private interrupt(vector: number, reason: number): void {
    if (this.messagesEnabled) {
      if (reason === InterruptStatus.CONFIG) this.interruptStatus |= reason;
      if (vector !== NO_VECTOR) this.pci.notify(vector);
      return;
    }
    this.interruptStatus |= reason;
    this.pci.setIntx(1);
  }

  private addModern(pci: VirtioFunction): void {
    const { device } = this;
    const notifyBytes = Math.max(NOTIFY_STRIDE, device.queues.length * NOTIFY_STRIDE);
    const place = (type: number, offset: number, length: number, stride?: number): void =>
      pci.addStructure({ type, bar: BAR.MODERN, offset, length, ...(stride === undefined ? {} : { stride }) });
    place(PciStructure.COMMON, ModernLayout.COMMON, CommonConfig.BYTES);
    place(PciStructure.ISR, ModernLayout.ISR, 4);
    if (device.config.length > 0) place(PciStructure.DEVICE, ModernLayout.DEVICE, device.config.length);
    place(PciStructure.NOTIFY, ModernLayout.NOTIFY, notifyBytes, NOTIFY_STRIDE);
    pci.addWindow();
    pci.addBar({
      index: BAR.MODERN,
      kind: 'memory64',
      size: Math.max(ModernLayout.BYTES, 2 ** Math.ceil(Math.log2(ModernLayout.NOTIFY + notifyBytes))),
      prefetchable: true,
      read: (offset, width) => this.readModern(offset, width),
      write: (offset, width, value) => this.writeModern(offset, width, value),
    });
  }

  private addLegacy(pci: VirtioFunction): void {
    const bytes = 0x18 + this.device.config.length;
    pci.addBar({
      index: BAR.LEGACY,
      kind: 'io',
      size: Math.max(32, 2 ** Math.ceil(Math.log2(bytes))),
      read: (offset, width) => readLegacy(this, offset, width),
      write: (offset, width, value) => writeLegacy(this, offset, width, value),
    });
  }

  private readModern(offset: number, width: Width): number {
    if (offset < CommonConfig.BYTES) return readCommon(this, offset, width);
    if (offset < ModernLayout.ISR) return 0;
    if (offset < ModernLayout.DEVICE) return offset === ModernLayout.ISR ? this.readIsr() : 0;
    if (offset < ModernLayout.NOTIFY) return this.device.readConfig(offset - ModernLayout.DEVICE, width);
    return 0;
  }

  private writeModern(offset: number, width: Width, value: number): void {
    if (offset >= ModernLayout.NOTIFY) this.device.notify((offset - ModernLayout.NOTIFY) >> 2);
    else if (offset < CommonConfig.BYTES) writeCommon(this, offset, width, value);
    else if (offset >= ModernLayout.DEVICE) this.device.writeConfig(offset - ModernLayout.DEVICE, width, value);
  }
}
