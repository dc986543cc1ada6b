import type { Device, Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { dwordRegion } from '../byte-region.js';
import type { InterruptInputs } from '../interrupt-routing.js';
import type { ApicBus, EoiListener } from '../local-apic/bus.js';
import { DeliveryMode } from '../local-apic/registers.js';
import { IO_APIC_VERSION, IoApicPort, IoApicRegister, PIN_COUNT, Redirection } from './registers.js';
import { ioApicSchema, type SavedIoApic } from './state.js';

/** Where an I/O APIC is and whom it talks to. */
export interface IoApicOptions {
  readonly bus: ApicBus;
  /** Guest-physical base (default 0xfec00000). */
  readonly base?: number;
  /** APIC id in its ID register (default 0). */
  readonly id?: number;
}

/**
 * An I/O APIC with 24 pins ("82093AA"). Level-triggered pins deliver while they are high and no EOI is outstanding (remote IRR); an edge at a masked
 * pin is ignored, as the manual says. Pin polarity is taken as set up right: `setInput(1)` means active.
 */
export class IoApic implements Device, InterruptInputs, EoiListener, SavableDevice<SavedIoApic> {
  readonly name = 'io-apic';
  readonly #options: IoApicOptions;
  readonly #low = new Uint32Array(PIN_COUNT);
  readonly #high = new Uint32Array(PIN_COUNT);
  #id: number;
  #select = 0;
  #levels = 0;
  /** Pins with a request that has not been delivered: edges latched, levels high. */
  #requests = 0;
  /** How many interrupts of each pin were taken since the start, for `info irq`; not saved. */
  readonly taken = new Float64Array(PIN_COUNT);

  constructor(options: IoApicOptions) {
    this.#options = options;
    this.#id = options.id ?? 0;
    this.#low.fill(Redirection.MASKED);
    options.bus.addEoiListener(this);
  }

  attach(wiring: Wiring): void {
    const base = this.#options.base ?? IoApicPort.BASE;
    wiring.mmio(
      dwordRegion(
        this.name,
        base,
        IoApicPort.SIZE,
        (offset) => this.#read(offset),
        (offset, value) => this.#write(offset, value),
        (offset) => this.#read(offset),
      ),
    );
  }

  reset(): void {
    this.#id = this.#options.id ?? 0;
    this.#select = 0;
    this.#low.fill(Redirection.MASKED);
    this.#high.fill(0);
    this.#requests = 0;
  }

  setInput(pin: number, level: 0 | 1): void {
    const bit = 1 << pin;
    const rose = level === 1 && !(this.#levels & bit);
    this.#levels = level === 1 ? this.#levels | bit : this.#levels & ~bit;
    const entry = this.#low[pin];
    if (entry & Redirection.LEVEL) this.#requests = level === 1 ? this.#requests | bit : this.#requests & ~bit;
    else if (rose && !(entry & Redirection.MASKED)) this.#requests |= bit;
    this.#service(pin);
  }

  endOfInterrupt(vector: number): void {
    for (let pin = 0; pin < PIN_COUNT; pin++) {
      const entry = this.#low[pin];
      if ((entry & Redirection.VECTOR) !== vector || !(entry & Redirection.REMOTE_IRR)) continue;
      this.#low[pin] = entry & ~Redirection.REMOTE_IRR;
      this.#service(pin);
    }
  }

  save(): SavedIoApic {
    return {
      id: this.#id,
      select: this.#select,
      levels: this.#levels,
      requests: this.#requests,
      low: [...this.#low],
      high: [...this.#high],
    };
  }

  load(saved: unknown): void {
    const state = ioApicSchema.check(saved, this.name);
    this.#id = state.id;
    this.#select = state.select;
    this.#levels = state.levels;
    this.#requests = state.requests;
    this.#low.set(state.low);
    this.#high.set(state.high);
  }

  #read(offset: number): number {
    if (offset === IoApicPort.SELECT) return this.#select;
    if (offset !== IoApicPort.WINDOW) return 0;
    switch (this.#select) {
      case IoApicRegister.ID:
      case IoApicRegister.ARBITRATION:
        return this.#id << 24;
      case IoApicRegister.VERSION:
        return IO_APIC_VERSION;
    }
    const index = this.#select - IoApicRegister.REDIRECTION;
    if (index < 0 || index >= 2 * PIN_COUNT) return 0;
    return index & 1 ? this.#high[index >> 1] : this.#low[index >> 1];
  }

  #write(offset: number, value: number): void {
    if (offset === IoApicPort.SELECT) this.#select = value & 0xff;
    else if (offset === IoApicPort.EOI) this.endOfInterrupt(value & 0xff);
    else if (offset === IoApicPort.WINDOW) this.#writeWindow(value);
  }

  #writeWindow(value: number): void {
    if (this.#select === IoApicRegister.ID) this.#id = (value >>> 24) & 15;
    const index = this.#select - IoApicRegister.REDIRECTION;
    if (index < 0 || index >= 2 * PIN_COUNT) return;
    const pin = index >> 1;
    if (index & 1) this.#high[pin] = value;
    else this.#writeEntry(pin, value);
    this.#service(pin);
  }

  #writeEntry(pin: number, value: number): void {
    const bit = 1 << pin;
    const wasLevel = (this.#low[pin] & Redirection.LEVEL) !== 0;
    const level = (value & Redirection.LEVEL) !== 0;
    // Going to edge and back is how drivers clear a remote IRR without an EOI register.
    const remoteIrr = level ? this.#low[pin] & Redirection.REMOTE_IRR : 0;
    this.#low[pin] = (value & Redirection.WRITABLE) | remoteIrr;
    if (level) this.#requests = (this.#requests & ~bit) | (this.#levels & bit);
    else if (wasLevel) this.#requests &= ~bit;
  }

  #service(pin: number): void {
    const bit = 1 << pin;
    const entry = this.#low[pin];
    if (!(this.#requests & bit) || entry & (Redirection.MASKED | Redirection.REMOTE_IRR)) return;
    const mode = (entry >> 8) & 7;
    const level = (entry & Redirection.LEVEL) !== 0 && mode <= DeliveryMode.LOWEST_PRIORITY;
    if (!level) this.#requests &= ~bit;
    const logical = (entry & Redirection.LOGICAL) !== 0;
    // Remote IRR first: the EOI may come before `deliver` returns.
    if (level) this.#low[pin] |= Redirection.REMOTE_IRR;
    const taken = this.#options.bus.deliver(this.#high[pin] >>> 24, false, logical, mode, entry & Redirection.VECTOR, level);
    if (taken) this.taken[pin]++;
    if (level && !taken) this.#low[pin] &= ~Redirection.REMOTE_IRR;
  }
}
