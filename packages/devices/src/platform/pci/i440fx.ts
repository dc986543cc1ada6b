import type { AcpiPm } from '../acpi-pm/device.js';
import { PciFunction, type PciSlot } from './function.js';
import type { PciHost, PciInterruptRouter } from './host.js';
import { type ChipsetOptions, LowMemoryRegisters } from './low-memory.js';
import { PirqRouter } from './pirq.js';

/** The host bridge of a `pc` board, 00:00.0 ("82441FX PMC"): PAM registers from 0x59 on, SMRAM at 0x72. */
export class I440FxBridge extends PciFunction {
  readonly #low: LowMemoryRegisters;

  constructor({ memory, bare = false }: ChipsetOptions = {}) {
    super({ name: 'i440fx', vendor: 0x8086, device: 0x1237, revision: 2, classCode: 0x06_0000 });
    this.set32(0x58, 0x0000_0010);
    for (let offset = 0x50; offset < 0x80; offset++) this.allow(offset, 1, 0xff);
    this.#low = new LowMemoryRegisters({ bridge: this, pam: 0x59, smram: 0x72, open: !bare, ...(memory ? { memory } : {}) });
    this.reserve(0x100);
  }

  override reset(): void {
    super.reset();
    this.#low.apply();
  }

  override configWritten(): void {
    this.#low.apply();
  }

  override configLoaded(): void {
    this.#low.apply();
  }
}

/** Route registers of PIIX3, and what firmware puts there: PIRQ A and B to interrupt 10, C and D to 11. */
const PIRQ_ROUTES = 0x60;
const PIRQ_DEFAULTS = [10, 10, 11, 11];

/** The ISA bridge of a `pc` board, 00:01.0 ("82371SB PIIX3"): routes interrupt pins. Slot s, pin p drives PIRQ (s + p - 1) modulo 4. */
export class Piix3 extends PciFunction implements PciInterruptRouter {
  #pirqs: PirqRouter | undefined;

  constructor({ bare = false }: ChipsetOptions = {}) {
    super({ name: 'piix3', vendor: 0x8086, device: 0x7000, classCode: 0x06_0100 });
    this.config.set(bare ? [0x80, 0x80, 0x80, 0x80] : PIRQ_DEFAULTS, PIRQ_ROUTES);
    this.allow(PIRQ_ROUTES, 4, 0x8f8f_8f8f);
    for (const offset of [0x4c, 0x4e, 0x4f, 0x69, 0x6a, 0x82, 0xa0, 0xa2, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8]) this.allow(offset, 1, 0xff);
    this.reserve(0x100);
  }

  override plug(slot: PciSlot): void {
    super.plug(slot);
    this.#pirqs = new PirqRouter(slot.wiring, 4);
    this.configLoaded();
  }

  override reset(): void {
    super.reset();
    this.configLoaded();
  }

  setPin(slot: number, pin: number, level: 0 | 1): void {
    this.#pirqs?.set((slot + pin + 3) & 3, level);
  }

  override configWritten(): void {
    this.configLoaded();
  }

  override configLoaded(): void {
    for (let pirq = 0; pirq < 4; pirq++) this.#pirqs?.route(pirq, this.config[PIRQ_ROUTES + pirq]);
  }
}

/** Device activity B of PIIX4: a write to the SMI command port raises an SMI. */
const DEVACTB = 0x58;
const APMC_EN = 0x0200_0000;
/** Whether the I/O space of power management is on. */
const PMREGMISC = 0x80;

/** Power management of a `pc` board, 00:01.3 ("82371AB PIIX4"): its PMBASE register moves the ACPI block. */
class Piix4Pm extends PciFunction {
  readonly #pm: AcpiPm;

  /** `bare`: the block has no place yet, and firmware gives it one. */
  constructor(pm: AcpiPm, bare: boolean, base = 0x600) {
    super({ name: 'piix4-pm', vendor: 0x8086, device: 0x7113, revision: 3, classCode: 0x06_8000, interruptPin: 1 });
    this.#pm = pm;
    this.config[0x3c] = 9;
    this.set32(0x40, bare ? 1 : base | 1);
    this.allow(0x40, 2, 0xffc0);
    this.config[PMREGMISC] = bare ? 0 : 1;
    this.allow(PMREGMISC, 1, 0x01);
    this.set32(0x90, 0x701);
    this.config[0xd2] = 0x09;
    for (const offset of [0x44, 0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x64, 0x68, 0x6c, 0x70, 0x74, 0x78, 0x7c]) this.allow(offset, 4, ~0);
    this.allow(0x90, 2, 0xfff0);
    this.allow(0xd2, 1, 0x0f);
    this.reserve(0x100);
  }

  override configWritten(): void {
    this.configLoaded();
  }

  override reset(): void {
    super.reset();
    this.configLoaded();
  }

  override configLoaded(): void {
    if (this.config[PMREGMISC] & 1) this.#pm.setBase(this.get16(0x40) & 0xffc0);
    this.#pm.setApmSmi((this.get32(DEVACTB) & APMC_EN) !== 0);
  }
}

/** Puts the three chips of a `pc` board on its bus. */
export function addI440Fx(host: PciHost, options: ChipsetOptions = {}): { bridge: I440FxBridge; piix3: Piix3 } {
  const { pm } = options;
  const bridge = new I440FxBridge(options);
  const piix3 = new Piix3(options);
  host.setRouter(piix3);
  host.add(0, bridge);
  host.add(1, piix3);
  if (pm) host.add(1, new Piix4Pm(pm, options.bare ?? false), 3);
  return { bridge, piix3 };
}
