import type { Device, Msi, RegionHandle, Width, Wiring } from '@nestvm/bus';
import { ApicBase, DeliveryMode, MSI_WINDOW_BYTES } from './registers.js';

/** Told of every end of a level-triggered interrupt: the I/O APIC. */
export interface EoiListener {
  endOfInterrupt(vector: number): void;
}

/** What the bus needs of a local APIC: `LocalApic` is one. */
export interface ApicOnBus {
  readonly enabled: boolean;
  readonly softwareEnabled: boolean;
  /** Guest-physical address of the register page. */
  readonly base: number;
  /** Whether an access to this guest-physical address is one to its register page. */
  ownsPage(address: number): boolean;
  matches(destination: number, logical: boolean): boolean;
  priority(): number;
  accept(mode: number, vector: number, level: boolean): void;
  setLint(pin: 0 | 1, level: 0 | 1): void;
  readRegister(register: number): number;
  writeRegister(register: number, value: number): void;
}

/**
 * What the APICs of a board talk over: it finds the destinations of IPIs, I/O APIC messages and MSIs, and brings EOIs to the I/O APIC.
 * It also claims the MMIO window at 0xfee00000 (1 MiB): the register page belongs to the vCPU that accesses it, a write elsewhere in the window is an MSI.
 * Stateless, but for the regions it holds.
 */
export class ApicBus implements Device, Msi {
  readonly name = 'apic-bus';
  readonly apics: ApicOnBus[] = [];
  readonly #eoiListeners: EoiListener[] = [];
  readonly #extraPages = new Map<number, RegionHandle>();
  #wiring: Wiring | undefined;
  #current: () => ApicOnBus | undefined;

  /** `current` tells whose access is under way: the local APIC of the running vCPU (default: the first one). */
  constructor(current?: () => ApicOnBus | undefined) {
    this.#current = current ?? (() => this.apics[0]);
  }

  /** Replaces the callback given to the constructor. */
  setCurrent(current: () => ApicOnBus | undefined): void {
    this.#current = current;
  }

  attach(wiring: Wiring): void {
    this.#wiring = wiring;
    this.#claim(ApicBase.DEFAULT, MSI_WINDOW_BYTES);
    this.baseChanged();
  }

  reset(): void {
    this.baseChanged();
  }

  /** Called by each local APIC as it is made. */
  join(apic: ApicOnBus): void {
    this.apics.push(apic);
  }

  addEoiListener(listener: EoiListener): void {
    this.#eoiListeners.push(listener);
  }

  /** The PIC's INT output goes to LINT0 of every local APIC. */
  setPicOutput(level: boolean): void {
    for (const apic of this.apics) apic.setLint(0, level ? 1 : 0);
  }

  /** The board's NMI line goes to LINT1 of every local APIC. */
  setNmi(level: 0 | 1): void {
    for (const apic of this.apics) apic.setLint(1, level);
  }

  /** A system-management interrupt goes to every CPU. */
  smi(): void {
    for (const apic of this.apics) apic.accept(DeliveryMode.SMI, 0, false);
  }

  /** A message-signalled interrupt ("Intel SDM Vol. 3, Message Signalled Interrupts"). */
  send(address: number, data: number): void {
    this.deliver((address >>> 12) & 0xff, false, (address & 4) !== 0, (data >>> 8) & 7, data & 0xff, (data & 0x8000) !== 0);
  }

  /**
   * Sends an interrupt message to whoever `destination` names: an 8-bit id (0xff: all), or with `wide` a 32-bit x2APIC id (all ones: all).
   * Returns whether a local APIC took it.
   */
  deliver(destination: number, wide: boolean, logical: boolean, mode: number, vector: number, level: boolean): boolean {
    const everybody = destination === (wide ? 0xffff_ffff : 0xff);
    if (mode === DeliveryMode.LOWEST_PRIORITY) return this.#deliverLowest(destination, everybody, logical, vector, level);
    let taken = false;
    for (const apic of this.apics) {
      if (!apic.enabled || !(everybody || apic.matches(destination, logical))) continue;
      apic.accept(mode, vector, level);
      taken = true;
    }
    return taken;
  }

  /** Brings the EOI of a level-triggered vector to the I/O APIC. */
  endOfInterrupt(vector: number): void {
    for (const listener of this.#eoiListeners) listener.endOfInterrupt(vector);
  }

  /** A local APIC's base or mode has changed: claims the register pages that lie outside the window, and lets go of others. */
  baseChanged(): void {
    if (this.#wiring === undefined) return;
    const wanted = new Set<number>();
    for (const { base } of this.apics) if (base < ApicBase.DEFAULT || base >= ApicBase.DEFAULT + MSI_WINDOW_BYTES) wanted.add(base);
    for (const [base, handle] of this.#extraPages) {
      if (wanted.delete(base)) continue;
      handle.remove();
      this.#extraPages.delete(base);
    }
    for (const base of wanted) {
      try {
        this.#extraPages.set(base, this.#claim(base, 0x1000));
      } catch {
        // Another device is there already and keeps the addresses, as the chipset's decoding would.
      }
    }
  }

  /** Of the destinations that are enabled: the one with the lowest processor priority, the first among equals. */
  #deliverLowest(destination: number, everybody: boolean, logical: boolean, vector: number, level: boolean): boolean {
    let best: ApicOnBus | undefined;
    for (const apic of this.apics) {
      if (!apic.softwareEnabled || !(everybody || apic.matches(destination, logical))) continue;
      if (best === undefined || apic.priority() < best.priority()) best = apic;
    }
    best?.accept(DeliveryMode.FIXED, vector, level);
    return best !== undefined;
  }

  #claim(base: number, size: number): RegionHandle {
    return (this.#wiring as Wiring).mmio({
      name: 'local-apic',
      base,
      size,
      read: (offset, width) => this.#read(base + offset, width),
      write: (offset, width, value) => this.#write(base + offset, width, value),
    });
  }

  #read(address: number, width: Width): number {
    const apic = this.#current();
    if (apic === undefined || !apic.ownsPage(address)) return width === 4 ? 0xffff_ffff : width === 2 ? 0xffff : 0xff;
    const within = address & 15;
    if (within > 3) return 0;
    const value = apic.readRegister((address & 0xfff) >> 4) >>> (8 * within);
    return width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
  }

  #write(address: number, width: Width, value: number): void {
    if (width !== 4) return;
    const apic = this.#current();
    if (apic?.ownsPage(address)) {
      if ((address & 15) === 0) apic.writeRegister((address & 0xfff) >> 4, value | 0);
    } else if (address >= ApicBase.DEFAULT && address < ApicBase.DEFAULT + MSI_WINDOW_BYTES) this.send(address, value);
  }
}
