import type { AcpiPm } from '../acpi-pm/device.js';
import { PciFunction, type PciSlot } from './function.js';
import type { PciHost, PciInterruptRouter } from './host.js';
import { type ChipsetOptions, LowMemoryRegisters } from './low-memory.js';
import { PirqRouter } from './pirq.js';
import { ECAM_BYTES, Q35_ECAM_BASE } from './registers.js';

const PCIEXBAR = 0x60;

/** The memory controller hub of a `q35` board, 00:00.0 ("Intel 3 Series Chipset", Q35): PCIEXBAR places ECAM, which starts at 0xb0000000; PAM registers from 0x90 on, SMRAM at 0x9d. */
export class Q35Mch extends PciFunction {
  readonly #host: PciHost;
  readonly #low: LowMemoryRegisters;

  constructor(host: PciHost, { memory, bare = false }: ChipsetOptions = {}) {
    super({ name: 'q35-mch', vendor: 0x8086, device: 0x29c0, classCode: 0x06_0000 });
    this.#host = host;
    this.set32(PCIEXBAR, bare ? 0 : Q35_ECAM_BASE | 1);
    this.allow(PCIEXBAR, 4, 0xfc00_0007);
    this.allow(PCIEXBAR + 4, 1, 0x0f);
    for (let offset = 0x90; offset < 0xa0; offset++) this.allow(offset, 1, 0xff);
    this.#low = new LowMemoryRegisters({ bridge: this, pam: 0x90, smram: 0x9d, open: !bare, ...(memory ? { memory } : {}) });
    this.reserve(0x100);
  }

  override plug(slot: PciSlot): void {
    super.plug(slot);
    this.configLoaded();
  }

  override reset(): void {
    super.reset();
    this.configLoaded();
  }

  override configWritten(): void {
    this.configLoaded();
  }

  override configLoaded(): void {
    this.#low.apply();
    const low = this.get32(PCIEXBAR);
    const bytes = ECAM_BYTES >> ((low >> 1) & 3);
    const base = this.config[PCIEXBAR + 4] * 2 ** 32 + Math.floor(low / bytes) * bytes;
    this.#host.setEcam(low & 1 && ((low >> 1) & 3) !== 3 && base !== 0 ? base : -1, bytes);
  }
}

const PMBASE = 0x40;
const ACPI_CONTROL = 0x44;
/** Route registers of PIRQ A-D and E-H. */
const PIRQ_ROUTES = [0x60, 0x61, 0x62, 0x63, 0x68, 0x69, 0x6a, 0x6b];

/**
 * The LPC bridge of a `q35` board, 00:1f.0 ("ICH9"). PIRQ A-H reach GSI 16-23, and the ISA interrupts their route registers name.
 * Slots 0-24: pin p of slot s drives PIRQ E + (s + p) modulo 4; slots 25-31: PIRQ A + p.
 */
export class Ich9Lpc extends PciFunction implements PciInterruptRouter {
  readonly #pm: AcpiPm | undefined;
  #pirqs: PirqRouter | undefined;

  constructor(pm?: AcpiPm, base = 0x600) {
    super({ name: 'ich9-lpc', vendor: 0x8086, device: 0x2918, revision: 2, classCode: 0x06_0100 });
    this.#pm = pm;
    this.set32(PMBASE, base | 1);
    this.allow(PMBASE, 2, 0xff80);
    this.config[ACPI_CONTROL] = 0x80;
    this.allow(ACPI_CONTROL, 1, 0x87);
    for (const offset of PIRQ_ROUTES) {
      this.config[offset] = 0x80;
      this.allow(offset, 1, 0x8f);
    }
    for (const offset of [0x64, 0x80, 0x84, 0x88, 0x8c, 0x90, 0xa0, 0xdc, 0xf0]) this.allow(offset, 4, ~0);
    this.reserve(0x100);
  }

  override plug(slot: PciSlot): void {
    super.plug(slot);
    this.#pirqs = new PirqRouter(slot.wiring, 8, 16);
    this.configLoaded();
  }

  override reset(): void {
    super.reset();
    this.configLoaded();
  }

  setPin(slot: number, pin: number, level: 0 | 1): void {
    this.#pirqs?.set(slot < 25 ? 4 + ((slot + pin) & 3) : pin, level);
  }

  override configWritten(): void {
    this.configLoaded();
  }

  override configLoaded(): void {
    if (this.config[ACPI_CONTROL] & 0x80) this.#pm?.setBase(this.get16(PMBASE) & 0xff80);
    PIRQ_ROUTES.forEach((offset, pirq) => this.#pirqs?.route(pirq, this.config[offset]));
  }
}

/** Puts the chips of a `q35` board on its bus. */
export function addQ35(host: PciHost, options: ChipsetOptions = {}): { mch: Q35Mch; lpc: Ich9Lpc } {
  const mch = new Q35Mch(host, options);
  const lpc = new Ich9Lpc(options.pm);
  host.setRouter(lpc);
  host.add(0, mch);
  host.add(31, lpc);
  return { mch, lpc };
}
