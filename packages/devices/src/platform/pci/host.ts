import type { Device, RegionHandle, Width, Wiring } from '@nestvm/bus';
import { DeviceError } from '../../errors.js';
import type { SavableDevice } from '../../saved-state.js';
import type { ResetControl } from '../ports/reset-control.js';
import type { PciFunction } from './function.js';
import type { PciHotplug } from './hotplug.js';
import { ECAM_BYTES, PCI_ADDRESS_ENABLE, PciConfig, PciPort } from './registers.js';
import { pciHostSchema, type SavedPciHost } from './state.js';

/** Takes the interrupt pins of slots to the board's wires: an ISA bridge. */
export interface PciInterruptRouter {
  /** `pin` is 0 (INTA) to 3 (INTD); `level` is that of one function, and several may share a pin. */
  setPin(slot: number, pin: number, level: 0 | 1): void;
}

/** How a PCI host is plugged in. */
export interface PciHostOptions {
  /** The register at port 0xcf9, inside the host's own ports. */
  readonly resetControl?: ResetControl;
}

const allOnes = (width: Width): number => (width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff);

/** PCI bus 0: configuration mechanism 1 at 0xcf8 and 0xcfc, ECAM where a chipset puts it, and the functions ("PCI Local Bus Specification 3.0"). */
export class PciHost implements Device, SavableDevice<SavedPciHost> {
  readonly name = 'pci';
  /** By slot × 8 + function. */
  readonly functions: (PciFunction | undefined)[] = new Array<PciFunction | undefined>(256).fill(undefined);
  readonly #options: PciHostOptions;
  #address = 0;
  #wiring: Wiring | undefined;
  #router: PciInterruptRouter | undefined;
  #hotplug: PciHotplug | undefined;
  #ecam: RegionHandle | undefined;
  #ecamBase = -1;

  constructor(options: PciHostOptions = {}) {
    this.#options = options;
  }

  attach(wiring: Wiring): void {
    this.#wiring = wiring;
    wiring.pio({
      name: 'pci-config',
      base: PciPort.ADDRESS,
      size: 8,
      read: (offset, width) => (offset < 4 ? this.#readAddress(offset, width) : this.#access(offset & 3, width)),
      write: (offset, width, value) => (offset < 4 ? this.#writeAddress(offset, width, value) : this.#access(offset & 3, width, value)),
    });
    this.functions.forEach((pciFunction, devfn) => pciFunction && this.#plug(pciFunction, devfn));
  }

  reset(): void {
    this.#address = 0;
    for (const pciFunction of this.functions) pciFunction?.reset();
  }

  /** Puts a function into a slot (0-31); throws `DeviceError` (`duplicate`) when that is taken. */
  add(slot: number, pciFunction: PciFunction, number = 0): void {
    const devfn = slot * 8 + number;
    const there = this.functions[devfn];
    if (there) throw new DeviceError('duplicate', `PCI slot ${slot}.${number} holds '${there.name}'; '${pciFunction.name}' needs another`);
    this.functions[devfn] = pciFunction;
    if (number > 0) this.functions[slot * 8]?.setMultifunction();
    if (this.#wiring) this.#plug(pciFunction, devfn);
  }

  /** Takes everything out of a slot. */
  remove(slot: number): void {
    for (let devfn = slot * 8; devfn < slot * 8 + 8; devfn++) {
      this.functions[devfn]?.unplug();
      this.functions[devfn] = undefined;
    }
    // What was in the way of others is gone.
    for (const other of this.functions) other?.placeBars();
  }

  /** The first slot without any function, from `from` on; throws `DeviceError` (`no-space`). */
  freeSlot(from = 1): number {
    for (let slot = from; slot < 32; slot++) if (this.functions.slice(slot * 8, slot * 8 + 8).every((it) => it === undefined)) return slot;
    throw new DeviceError('no-space', 'all 32 PCI slots are taken; remove a device');
  }

  /** Names the bridge that routes interrupt pins. */
  setRouter(router: PciInterruptRouter): void {
    this.#router = router;
  }

  /** Names the controller by which guests hear of devices that come and go. */
  setHotplug(controller: PciHotplug): void {
    this.#hotplug = controller;
  }

  /** Puts ECAM at a guest-physical address, or takes it away (-1). It stays away when something else is there. */
  setEcam(base: number, bytes: number = ECAM_BYTES): void {
    if (base === this.#ecamBase || this.#wiring === undefined) return;
    this.#ecam?.remove();
    this.#ecam = undefined;
    this.#ecamBase = -1;
    if (base < 0) return;
    try {
      this.#ecam = this.#wiring.mmio({
        name: 'pci-ecam',
        base,
        size: bytes,
        read: (offset, width) => this.#config(offset >>> 12, offset & 0xfff, width),
        write: (offset, width, value) => void this.#config(offset >>> 12, offset & 0xfff, width, value),
      });
      this.#ecamBase = base;
    } catch {
      // Whatever is there keeps the addresses.
    }
  }

  save(): SavedPciHost {
    const hotplug = this.#hotplug?.pending;
    const waits = hotplug !== undefined && hotplug.up + hotplug.down + hotplug.latched > 0;
    return { address: this.#address, ...(waits ? { hotplug } : {}) };
  }

  load(saved: unknown): void {
    const { address, hotplug } = pciHostSchema.check(saved, this.name);
    this.#address = address;
    if (this.#hotplug) this.#hotplug.pending = hotplug;
  }

  #plug(pciFunction: PciFunction, devfn: number): void {
    const pin = pciFunction.config[PciConfig.INTERRUPT_PIN] - 1;
    let driven: 0 | 1 = 0;
    pciFunction.plug({
      wiring: this.#wiring as Wiring,
      setIntx: (level) => {
        if (pin < 0 || level === driven) return;
        driven = level;
        this.#router?.setPin(devfn >> 3, pin, level);
      },
      barsChanged: () => {
        for (const other of this.functions) if (other !== pciFunction) other?.placeBars();
      },
    });
    pciFunction.placeBars();
  }

  #readAddress(offset: number, width: Width): number {
    if (width === 4) return this.#address;
    if (width === 1 && offset === 1 && this.#options.resetControl) return this.#options.resetControl.read();
    return allOnes(width);
  }

  #writeAddress(offset: number, width: Width, value: number): void {
    if (width === 4) this.#address = (value & 0x80ff_fffc) >>> 0;
    else if (width === 1 && offset === 1) this.#options.resetControl?.write(value);
  }

  #access(offset: number, width: Width, value?: number): number {
    if (!(this.#address & PCI_ADDRESS_ENABLE)) return allOnes(width);
    return this.#config((this.#address >>> 8) & 0xffff, (this.#address & 0xfc) + offset, width, value);
  }

  /** A configuration read, or a write when there is a value; `where` is bus × 256 + slot × 8 + function. */
  #config(where: number, register: number, width: Width, value?: number): number {
    const pciFunction = where < 256 ? this.functions[where] : undefined;
    if (pciFunction === undefined || register + width > 256) return allOnes(width);
    if (value === undefined) return pciFunction.readConfig(register, width);
    pciFunction.writeConfig(register, width, value);
    return 0;
  }
}
