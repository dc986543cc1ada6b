import type { Device, Wiring } from '@nestvm/bus';
import { DeviceError } from '../errors.js';
import { dwordRegion } from '../platform/byte-region.js';
import { PciFunction } from '../platform/pci/function.js';
import type { SavableDevice } from '../saved-state.js';
import { AhciPort } from './ahci-port.js';
import { Ghc, HBA_CAPABILITIES, HBA_VERSION, Hba } from './ahci-registers.js';
import { ahciSchema, type SavedAhci } from './ahci-state.js';
import type { AtaDrive } from './drive.js';

const MOST_PORTS = 32;

/** An AHCI controller as in ICH9 ("Serial ATA AHCI 1.3.1 Specification"): its PCI function, and a port for each drive. */
export class AhciController implements Device, SavableDevice<SavedAhci> {
  readonly name: string;
  readonly pci: PciFunction;
  readonly ports: readonly AhciPort[];
  #control: number = Ghc.AHCI;
  #status = 0;

  /** `drives`: by port; undefined where none is plugged in. */
  constructor(name: string, drives: readonly (AtaDrive | undefined)[]) {
    if (drives.length < 1 || drives.length > MOST_PORTS)
      throw new DeviceError('bad-option', `${name}: ${drives.length} ports; give 1 to ${MOST_PORTS}`);
    this.name = name;
    this.ports = drives.map((drive) => new AhciPort(drive));
    this.pci = new PciFunction({ name: `${name} pci`, vendor: 0x8086, device: 0x2922, revision: 2, classCode: 0x01_0601, interruptPin: 1 });
    const region = dwordRegion(
      name,
      0,
      Hba.BYTES,
      (offset) => this.#read(offset),
      (offset, value) => this.#write(offset, value),
    );
    this.pci.addBar({
      index: 5,
      kind: 'memory',
      size: Hba.BYTES,
      read: (offset, width) => region.read(offset, width),
      write: (offset, width, value) => region.write(offset, width, value),
    });
    this.pci.addMsi();
  }

  attach(wiring: Wiring): void {
    for (const port of this.ports) port.connect(wiring.dma, () => this.#drive());
  }

  reset(): void {
    this.#control = Ghc.AHCI;
    this.#status = 0;
    for (const port of this.ports) port.reset();
    this.#drive();
  }

  /** The machine stands still. */
  freeze(): void {
    for (const { gate } of this.ports) gate.close();
  }

  thaw(): void {
    for (const { gate } of this.ports) gate.open();
  }

  /** Something happened outside of the vCPUs: ends a sleep. */
  set onActivity(wake: () => void) {
    for (const port of this.ports) port.onActivity = wake;
  }

  save(): SavedAhci {
    return { control: this.#control, status: this.#status >>> 0, ports: this.ports.map((port) => port.save()) };
  }

  load(saved: unknown): void {
    const state = ahciSchema.check(saved, this.name);
    if (state.ports.length !== this.ports.length)
      throw new DeviceError(
        'bad-state',
        `${this.name}: the snapshot has ${state.ports.length} ports, this machine ${this.ports.length}; give the same drives`,
      );
    this.#control = state.control;
    this.#status = state.status;
    this.ports.forEach((port, i) => port.load(state.ports[i]!));
    this.#level();
    for (const port of this.ports) port.resume();
  }

  #read(offset: number): number {
    if (offset >= Hba.PORTS) {
      const port = this.ports[Math.floor((offset - Hba.PORTS) / Hba.PORT_BYTES)];
      return port?.read((offset - Hba.PORTS) % Hba.PORT_BYTES) ?? 0;
    }
    switch (offset) {
      case Hba.CAP:
        return HBA_CAPABILITIES + this.ports.length - 1;
      case Hba.GHC:
        return this.#control >>> 0;
      case Hba.IS:
        return this.#status >>> 0;
      case Hba.PI:
        return 2 ** this.ports.length - 1;
      case Hba.VS:
        return HBA_VERSION;
      default:
        return 0;
    }
  }

  #write(offset: number, value: number): void {
    if (offset >= Hba.PORTS) this.ports[Math.floor((offset - Hba.PORTS) / Hba.PORT_BYTES)]?.write((offset - Hba.PORTS) % Hba.PORT_BYTES, value);
    else if (offset === Hba.GHC) {
      if (value & Ghc.RESET) return this.reset();
      this.#control = (Ghc.AHCI | (value & Ghc.INTERRUPTS)) >>> 0;
      this.#drive();
    } else if (offset === Hba.IS) {
      this.#status &= ~value;
      this.#drive();
    }
  }

  /** Notes which ports interrupt, and drives the pin or sends the message. */
  #drive(): void {
    const before = this.#status;
    this.ports.forEach((port, i) => {
      if (port.interrupting) this.#status |= 1 << i;
    });
    this.#level();
    if ((this.#status & ~before) !== 0 && (this.#control & Ghc.INTERRUPTS) !== 0) this.pci.notify(0);
  }

  #level(): void {
    this.pci.setIntx(this.#status !== 0 && (this.#control & Ghc.INTERRUPTS) !== 0 ? 1 : 0);
  }
}
