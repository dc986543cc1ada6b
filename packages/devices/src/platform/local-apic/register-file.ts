import { APIC_VERSION, ApicBase, ApicRegister, LVT_COUNT, Svr } from './registers.js';
import type { SavedLocalApic } from './state.js';
import type { ApicTimer } from './timer.js';
import { VectorSet } from './vectors.js';

/** The registers and latches of a local APIC, what can be read off them, and their saved form; `LocalApic` adds what they do. */
export abstract class ApicRegisters {
  abstract readonly timer: ApicTimer;
  protected readonly request = new VectorSet();
  protected readonly service = new VectorSet();
  /** Level-triggered vectors: those whose EOI the I/O APIC wants to hear. */
  protected readonly trigger = new VectorSet();
  protected readonly lvt = new Int32Array(LVT_COUNT);
  /** Levels of the pins LINT0 and LINT1. */
  protected readonly lint = new Uint8Array(2);
  protected baseLow = 0;
  protected baseHigh = 0;
  protected apicId = 0;
  protected tpr = 0;
  protected ldr = 0;
  protected dfr = 0;
  protected svr = 0;
  protected esr = 0;
  /** Errors since the last write to ESR. */
  protected errors = 0;
  protected icrLow = 0;
  protected icrHigh = 0;
  protected nmi = false;
  protected smi = false;
  protected init = false;
  /** Vector of a pending start-up IPI, or -1. */
  protected sipi = -1;
  protected waitingForSipi = false;

  /** Whether IA32_APIC_BASE enables it: CPUID.1:EDX.APIC follows this. */
  get enabled(): boolean {
    return (this.baseLow & ApicBase.ENABLE) !== 0;
  }

  get x2apic(): boolean {
    return (this.baseLow & ApicBase.X2APIC) !== 0;
  }

  /** Enabled, also by the spurious-vector register: takes fixed interrupts. */
  get softwareEnabled(): boolean {
    return this.enabled && (this.svr & Svr.ENABLE) !== 0;
  }

  /** Guest-physical address of the register page. */
  get base(): number {
    return this.baseHigh * 2 ** 32 + (this.baseLow & 0xffff_f000) + (this.baseLow < 0 ? 2 ** 32 : 0);
  }

  /** Current APIC id: 8 bits, 32 in x2APIC mode. */
  get id(): number {
    return this.apicId;
  }

  /** Whether an address is in its register page while that is in use (xAPIC mode). */
  ownsPage(address: number): boolean {
    return this.enabled && !this.x2apic && address - (address % 0x1000) === this.base;
  }

  /** Whether a message to `destination` (no broadcast) means this APIC. */
  matches(destination: number, logical: boolean): boolean {
    if (!logical) return this.apicId === destination;
    if (this.x2apic) return this.ldr >>> 16 === destination >>> 16 && (this.ldr & destination & 0xffff) !== 0;
    const mine = this.ldr >>> 24;
    if (this.dfr >>> 28 === 15) return (mine & destination) !== 0;
    return mine >> 4 === destination >> 4 && (mine & destination & 15) !== 0;
  }

  /** Processor priority register. */
  priority(): number {
    const inService = this.service.highest < 0 ? 0 : this.service.highest & 0xf0;
    return (this.tpr & 0xf0) >= inService ? this.tpr : inService;
  }

  /** Value of a register that has one (unsigned or int32: callers cut it to their width), else undefined. */
  protected registerValue(register: number): number | undefined {
    switch (register) {
      case ApicRegister.ID:
        return this.x2apic ? this.apicId : this.apicId << 24;
      case ApicRegister.VERSION:
        return APIC_VERSION;
      case ApicRegister.TPR:
        return this.tpr;
      case ApicRegister.PPR:
        return this.priority();
      case ApicRegister.LDR:
        return this.ldr;
      case ApicRegister.DFR:
        return this.dfr;
      case ApicRegister.SVR:
        return this.svr;
      case ApicRegister.ESR:
        return this.esr;
      case ApicRegister.ICR_LOW:
        return this.icrLow;
      case ApicRegister.ICR_HIGH:
        return this.icrHigh;
      case ApicRegister.INITIAL_COUNT:
        return this.timer.initial;
      case ApicRegister.CURRENT_COUNT:
        return this.timer.current();
      case ApicRegister.DIVIDE:
        return this.timer.divide;
      case ApicRegister.APR:
      case ApicRegister.RRD:
      case ApicRegister.EOI:
        return 0;
    }
    if (register >= ApicRegister.LVT_TIMER && register <= ApicRegister.LVT_ERROR) return this.lvt[register - ApicRegister.LVT_TIMER];
    if (register >= ApicRegister.ISR && register < ApicRegister.ESR) return this.#vectorWord(register);
    return undefined;
  }

  save(): SavedLocalApic {
    return {
      baseLow: this.baseLow >>> 0,
      baseHigh: this.baseHigh >>> 0,
      id: this.apicId,
      tpr: this.tpr,
      ldr: this.ldr >>> 0,
      dfr: this.dfr >>> 0,
      svr: this.svr,
      esr: this.esr,
      errors: this.errors,
      icrLow: this.icrLow >>> 0,
      icrHigh: this.icrHigh >>> 0,
      lvt: Array.from(this.lvt, (entry) => entry >>> 0),
      request: [...this.request.words],
      service: [...this.service.words],
      trigger: [...this.trigger.words],
      lint: [...this.lint],
      nmi: this.nmi,
      smi: this.smi,
      init: this.init,
      sipi: this.sipi,
      waitingForSipi: this.waitingForSipi,
      timer: this.timer.save(),
    };
  }

  /** Takes over checked state; the caller re-derives what follows from it. */
  protected restore(state: SavedLocalApic): void {
    this.baseLow = state.baseLow | 0;
    this.baseHigh = state.baseHigh | 0;
    this.apicId = state.id;
    this.tpr = state.tpr;
    this.ldr = state.ldr | 0;
    this.dfr = state.dfr | 0;
    this.svr = state.svr & Svr.WRITABLE;
    this.esr = state.esr;
    this.errors = state.errors;
    this.icrLow = state.icrLow | 0;
    this.icrHigh = state.icrHigh | 0;
    this.lvt.set(state.lvt.map((entry) => entry | 0));
    this.request.load(state.request);
    this.service.load(state.service);
    this.trigger.load(state.trigger);
    this.lint.set(state.lint);
    this.nmi = state.nmi;
    this.smi = state.smi;
    this.init = state.init;
    this.sipi = state.sipi;
    this.waitingForSipi = state.waitingForSipi;
    this.timer.load(state.timer, this.lvt[0]);
  }

  #vectorWord(register: number): number {
    const word = register & 7;
    if (register < ApicRegister.TMR) return this.service.words[word];
    return register < ApicRegister.IRR ? this.trigger.words[word] : this.request.words[word];
  }
}
