import type { Clock } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import type { ApicBus } from './bus.js';
import { ApicRegisters } from './register-file.js';
import { ApicBase, ApicError, ApicMsr, ApicRegister, DeliveryMode, Icr, LVT_COUNT, LVT_WRITABLE, Lvt, Shorthand, Svr } from './registers.js';
import { localApicSchema, type SavedLocalApic } from './state.js';
import { ApicTimer } from './timer.js';
import { isX2ApicMsr, readX2Apic, validBase, writeX2Apic } from './x2apic.js';

/** The interrupt controller behind LINT0 in ExtINT mode. */
export interface ExternalInterrupts {
  /** Level of its INT output. */
  readonly intr: boolean;
  /** The interrupt acknowledge cycle: a vector. */
  acknowledge(): number;
}

/** How a local APIC is made. */
export interface LocalApicOptions {
  /** Initial APIC id: an xAPIC id below 255, and the x2APIC id. */
  readonly id: number;
  /** Whether this is the bootstrap processor. Its LINT0 starts as ExtINT, unmasked: the virtual wire that firmware sets up. */
  readonly bsp: boolean;
  readonly bus: ApicBus;
  readonly clock: Clock;
  readonly pic?: ExternalInterrupts;
  /** Whether x2APIC mode exists (default true). */
  readonly x2apic?: boolean;
  /** Whether TSC-deadline mode exists (default true). */
  readonly tscDeadline?: boolean;
  /** MAXPHYADDR, for IA32_APIC_BASE's reserved bits (default 40). */
  readonly physicalAddressBits?: number;
}

/**
 * A local APIC, xAPIC and x2APIC ("Intel SDM Vol. 3, Advanced Programmable Interrupt Controller"). It implements the CPU's `InterruptSource` port
 * structurally. Nothing on its paths allocates.
 */
export class LocalApic extends ApicRegisters implements SavableDevice<SavedLocalApic> {
  readonly name: string;
  /** Results of `readMsr`, arguments of `writeMsr`: int32 halves. */
  msrLo = 0;
  msrHi = 0;
  readonly options: LocalApicOptions;
  readonly timer: ApicTimer;
  /** The APIC's own highest request beats the processor priority. */
  #ready = false;
  #wake: () => void = () => {};

  constructor(options: LocalApicOptions) {
    super();
    this.options = options;
    this.name = `apic${options.id}`;
    this.timer = new ApicTimer(options.clock, this.name, () => this.#local(0));
    options.bus.join(this);
    this.reset();
  }

  /** Power-on or RESET: everything, with the base and mode. */
  reset(): void {
    this.baseLow = ApicBase.DEFAULT | ApicBase.ENABLE | (this.options.bsp ? ApicBase.BSP : 0) | 0;
    this.baseHigh = 0;
    this.apicId = this.options.id;
    this.init = false;
    this.#initialize();
    this.waitingForSipi = !this.options.bsp;
    this.options.bus.baseChanged();
  }

  // What the CPU asks: the port `InterruptSource`.

  /** An interrupt is ready: its own by priority, or the PIC's through LINT0. */
  intr(): boolean {
    return this.#ready || this.#externalReady();
  }

  /** The acknowledge cycle: moves the highest request into service and returns its vector; without one, the PIC's, else the spurious vector. */
  acknowledge(): number {
    if (this.#ready) {
      const vector = this.request.highest;
      this.request.delete(vector);
      this.service.add(vector);
      this.#ready = false;
      return vector;
    }
    return this.#externalReady() ? (this.options.pic as ExternalInterrupts).acknowledge() : this.svr & Svr.VECTOR;
  }

  takeNmi(): boolean {
    const taken = this.nmi;
    this.nmi = false;
    return taken;
  }

  takeSmi(): boolean {
    const taken = this.smi;
    this.smi = false;
    return taken;
  }

  /** Takes a pending INIT; the APIC's registers are reset by it. */
  takeInit(): boolean {
    if (!this.init) return false;
    this.init = false;
    const sipi = this.sipi;
    this.#initialize();
    this.waitingForSipi = (this.baseLow & ApicBase.BSP) === 0;
    if (this.waitingForSipi) this.sipi = sipi;
    return true;
  }

  /** Takes a pending start-up IPI: its vector, or -1. */
  takeSipi(): number {
    const vector = this.sipi;
    if (vector >= 0) this.waitingForSipi = false;
    this.sipi = -1;
    return vector;
  }

  /** CR8: the task-priority class, 0 to 15. */
  readTpr(): number {
    return this.tpr >> 4;
  }

  writeTpr(value: number): void {
    this.tpr = (value & 15) << 4;
    this.#update();
  }

  /** Reads IA32_APIC_BASE, IA32_TSC_DEADLINE or an x2APIC MSR into `msrLo` and `msrHi`; false means #GP. */
  readMsr(index: number): boolean {
    this.msrHi = 0;
    if (index === ApicMsr.BASE) {
      this.msrLo = this.baseLow;
      this.msrHi = this.baseHigh;
      return true;
    }
    if (index === ApicMsr.TSC_DEADLINE) {
      this.msrLo = this.timer.deadlineLow;
      this.msrHi = this.timer.deadlineHigh;
      return this.options.tscDeadline !== false;
    }
    return isX2ApicMsr(index) && this.x2apic && readX2Apic(this, index - ApicMsr.X2APIC);
  }

  /** Writes `msrLo` and `msrHi` to one of those MSRs; false means #GP, and nothing has changed. */
  writeMsr(index: number): boolean {
    if (index === ApicMsr.BASE) return this.#writeBase(this.msrLo, this.msrHi);
    if (index === ApicMsr.TSC_DEADLINE) {
      if (this.options.tscDeadline === false) return false;
      this.timer.setDeadline(this.msrLo, this.msrHi);
      return true;
    }
    return isX2ApicMsr(index) && this.x2apic && writeX2Apic(this, index - ApicMsr.X2APIC, this.msrLo, this.msrHi);
  }

  /** Called whenever something that `intr` or a `take` may report becomes pending. */
  setWake(wake: () => void): void {
    this.#wake = wake;
  }

  // What the machine and the bus ask.

  /** An interrupt message has arrived. */
  accept(mode: number, vector: number, level: boolean): void {
    switch (mode) {
      case DeliveryMode.FIXED:
      case DeliveryMode.LOWEST_PRIORITY:
        return this.#acceptVector(vector, level);
      case DeliveryMode.SMI:
        this.smi = true;
        return this.#wake();
      case DeliveryMode.NMI:
        this.nmi = true;
        return this.#wake();
      case DeliveryMode.INIT:
        this.init = true;
        this.sipi = -1;
        return this.#wake();
      case DeliveryMode.STARTUP:
        if (!this.waitingForSipi && !this.init) return;
        this.sipi = vector;
        return this.#wake();
      case DeliveryMode.EXTINT:
        if (this.options.pic?.intr) this.#acceptVector(this.options.pic.acknowledge(), false);
    }
  }

  /** Level of the pin LINT0 (the PIC's output) or LINT1 (NMI). */
  setLint(pin: 0 | 1, level: 0 | 1): void {
    const rose = level === 1 && this.lint[pin] === 0;
    this.lint[pin] = level;
    if (!this.enabled) {
      // With the APIC off the pins are INTR and NMI.
      if (rose && pin === 1) this.nmi = true;
      if (rose) this.#wake();
      return;
    }
    const lvt = this.lvt[3 + pin];
    if (level === 0 || lvt & Lvt.MASKED) return;
    if (((lvt >> 8) & 7) === DeliveryMode.EXTINT) this.#wake();
    else if (rose) this.#local(3 + pin);
  }

  // Registers, in xAPIC terms; `x2apic.ts` uses them too.

  /** Value of register `offset >> 4` (unsigned or int32: callers cut it to their width). */
  readRegister(register: number): number {
    const value = this.registerValue(register);
    if (value === undefined) this.#error(ApicError.ILLEGAL_REGISTER);
    return value ?? 0;
  }

  writeRegister(register: number, value: number): void {
    switch (register) {
      case ApicRegister.ID:
        this.apicId = value >>> 24;
        return;
      case ApicRegister.TPR:
        this.tpr = value & 0xff;
        return this.#update();
      case ApicRegister.EOI:
        return this.#endOfInterrupt();
      case ApicRegister.LDR:
        this.ldr = value & 0xff00_0000;
        return;
      case ApicRegister.DFR:
        this.dfr = value | 0x0fff_ffff;
        return;
      case ApicRegister.SVR:
        return this.#writeSvr(value);
      case ApicRegister.ESR:
        this.esr = this.errors;
        this.errors = 0;
        return;
      case ApicRegister.ICR_LOW:
        this.icrLow = value & Icr.WRITABLE;
        return this.sendIpi(this.icrLow, this.icrHigh >>> 24, false);
      case ApicRegister.ICR_HIGH:
        this.icrHigh = value & 0xff00_0000;
        return;
      case ApicRegister.INITIAL_COUNT:
        return this.timer.setInitial(value >>> 0);
      case ApicRegister.DIVIDE:
        return this.timer.setDivide(value);
    }
    if (register >= ApicRegister.LVT_TIMER && register <= ApicRegister.LVT_ERROR) this.#writeLvt(register - ApicRegister.LVT_TIMER, value);
    else if (!isReadOnly(register)) this.#error(ApicError.ILLEGAL_REGISTER);
  }

  /** x2APIC's 64-bit interrupt command register. */
  writeIcr(low: number, high: number): void {
    this.icrLow = low & Icr.WRITABLE;
    this.icrHigh = high;
    this.sendIpi(this.icrLow, high >>> 0, true);
  }

  /** Sends what an interrupt command register says. */
  sendIpi(command: number, destination: number, wide: boolean): void {
    const mode = (command >> 8) & 7;
    const vector = command & 0xff;
    if (mode === DeliveryMode.INIT && !(command & Icr.ASSERT) && command & Icr.LEVEL) return;
    if (mode <= DeliveryMode.LOWEST_PRIORITY && vector < 16) return this.#error(ApicError.SEND_ILLEGAL_VECTOR);
    const { bus } = this.options;
    switch ((command >> 18) & 3) {
      case Shorthand.SELF:
        if (mode === DeliveryMode.FIXED) this.accept(mode, vector, false);
        return;
      case Shorthand.NONE:
        bus.deliver(destination, wide, (command & Icr.LOGICAL) !== 0, mode, vector, false);
        return;
      case Shorthand.ALL:
        bus.deliver(0xff, false, false, mode, vector, false);
        return;
      default:
        for (const apic of bus.apics) if (apic !== this && apic.enabled) apic.accept(mode, vector, false);
    }
  }

  load(saved: unknown): void {
    this.restore(localApicSchema.check(saved, this.name));
    this.options.bus.baseChanged();
    this.#update();
    this.#wake();
  }

  /** What INIT resets: all but the base and the id. */
  #initialize(): void {
    this.request.clear();
    this.service.clear();
    this.trigger.clear();
    this.lvt.fill(Lvt.MASKED);
    if (this.options.bsp && this.options.pic) this.lvt[3] = DeliveryMode.EXTINT << 8;
    this.tpr = this.esr = this.errors = this.icrLow = this.icrHigh = 0;
    this.dfr = -1;
    this.svr = 0xff;
    this.ldr = this.x2apic ? logicalX2Id(this.apicId) : 0;
    this.nmi = this.smi = false;
    this.sipi = -1;
    this.timer.reset();
    this.#update();
  }

  #externalReady(): boolean {
    if (this.lint[0] === 0 || this.options.pic === undefined) return false;
    if (!this.enabled) return true;
    return (this.lvt[3] & (Lvt.MASKED | 0x700)) === DeliveryMode.EXTINT << 8;
  }

  #update(): void {
    const { highest } = this.request;
    this.#ready = highest >= 16 && highest >> 4 > this.priority() >> 4 && this.softwareEnabled;
    if (this.#ready) this.#wake();
  }

  #acceptVector(vector: number, level: boolean): void {
    if (!this.softwareEnabled) return;
    if (vector < 16) return this.#error(ApicError.RECEIVE_ILLEGAL_VECTOR);
    if (level) this.trigger.add(vector);
    else this.trigger.delete(vector);
    this.request.add(vector);
    this.#update();
  }

  #endOfInterrupt(): void {
    const vector = this.service.highest;
    if (vector < 0) return;
    this.service.delete(vector);
    if (this.trigger.has(vector)) this.options.bus.endOfInterrupt(vector);
    this.#update();
  }

  /** A performance counter of the CPU has overflowed; Intel's processors then mask the entry. */
  performanceInterrupt(mask: boolean): void {
    const entry = ApicRegister.LVT_PERFORMANCE - ApicRegister.LVT_TIMER;
    this.#local(entry);
    if (mask) this.#setLvt(entry, this.lvt[entry]! | Lvt.MASKED);
  }

  /** A local source (an LVT entry) fires. */
  #local(entry: number): void {
    const lvt = this.lvt[entry];
    if (lvt & Lvt.MASKED || !this.enabled) return;
    const fixed = entry === 0 || entry === 5;
    this.accept(fixed ? DeliveryMode.FIXED : (lvt >> 8) & 7, lvt & Lvt.VECTOR, !fixed && (lvt & Lvt.LEVEL) !== 0);
  }

  #error(bit: number): void {
    const isNew = (this.errors & bit) === 0;
    this.errors |= bit;
    // An illegal vector in the error entry itself must not report for ever.
    if (isNew && (this.lvt[5] & Lvt.VECTOR) >= 16) this.#local(5);
  }

  #writeSvr(value: number): void {
    this.svr = value & Svr.WRITABLE;
    if (!(value & Svr.ENABLE)) for (let i = 0; i < LVT_COUNT; i++) this.#setLvt(i, this.lvt[i] | Lvt.MASKED);
    this.#update();
  }

  #writeLvt(entry: number, value: number): void {
    let allowed = value & LVT_WRITABLE[entry];
    if (entry === 0 && this.options.tscDeadline === false) allowed &= ~0x4_0000;
    this.#setLvt(entry, this.svr & Svr.ENABLE ? allowed : allowed | Lvt.MASKED);
    // A level that already waits at an ExtINT pin counts at once.
    if (entry === 3 && this.#externalReady()) this.#wake();
  }

  #setLvt(entry: number, value: number): void {
    this.lvt[entry] = value;
    if (entry === 0) this.timer.setLvt(value);
  }

  #writeBase(low: number, high: number): boolean {
    if (!validBase(this.baseLow, low, high, this.options)) return false;
    const before = this.baseLow;
    this.baseLow = low;
    this.baseHigh = high;
    const mode = ApicBase.ENABLE | ApicBase.X2APIC;
    if ((before & mode) !== (low & mode)) this.#modeChanged();
    this.options.bus.baseChanged();
    this.#update();
    this.#wake();
    return true;
  }

  #modeChanged(): void {
    if (!this.enabled) {
      const { nmi, smi, sipi } = { nmi: this.nmi, smi: this.smi, sipi: this.sipi };
      this.apicId = this.options.id;
      this.#initialize();
      this.nmi = nmi;
      this.smi = smi;
      this.sipi = sipi;
    } else if (this.x2apic) {
      this.apicId = this.options.id;
      this.ldr = logicalX2Id(this.apicId);
      this.icrHigh = 0;
    }
  }
}

const logicalX2Id = (id: number): number => ((id >>> 4) << 16) | (1 << (id & 15));

/** Registers that can only be read: writing them is ignored. */
const isReadOnly = (register: number): boolean =>
  (register >= ApicRegister.ISR && register < ApicRegister.ESR) ||
  [ApicRegister.VERSION, ApicRegister.APR, ApicRegister.PPR, ApicRegister.RRD, ApicRegister.CURRENT_COUNT].includes(register as never);
