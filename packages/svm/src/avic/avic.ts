import { ACTIVITY, Activity, deliverInterrupt, EventKind, RFLAGS } from '@nestvm/cpu/extension';
import { ApicRegister, Rflags } from '@nestvm/isa';
import { ExitCode } from '../exits/codes.js';
import { IntControl, Vmcb } from '../vmcb/layout.js';
import type { AvicHost } from './host.js';
import { sendIpi } from './ipi.js';
import { Rule, writeRules } from './registers.js';

/** Bit 32 of EXITINFO1 of an exit AVIC_NOACCEL, in its high half. */
export const NOACCEL_WRITE = 1;
const WORDS = 8;

/** The address in the fields of the VMCB that hold a page. */
function pageAt(svm: AvicHost, word: number): number {
  return (svm.i32[word + 1]! & 0xfffff) * 4294967296 + ((svm.i32[word]! & ~0xfff) >>> 0);
}

/** An exit that is to be made after the instruction at hand. */
interface Demand {
  code: number;
  info1Lo: number;
  info1Hi: number;
  info2Lo: number;
  info2Hi: number;
}

/**
 * The virtual interrupt controller of a guest (APM Vol. 2, "Advanced Virtual Interrupt Controller"). Its registers are in the backing page; this holds what
 * VMRUN took from the VMCB.
 */
export class Avic {
  /** Whether the guest in force has one, and in x2APIC mode. */
  on = false;
  x2 = false;
  /** Physical address of the backing page. */
  page = 0;
  /** Offset of a register that the guest has written and whose effect is still to come, -1: none. */
  written = -1;
  /** An access that was refused: offset or -1, and its direction. */
  refusedOffset = -1;
  refusedWrite = false;
  readonly demand: Demand = { code: 0, info1Lo: 0, info1Hi: 0, info2Lo: 0, info2Hi: 0 };

  constructor(private readonly svm: AvicHost) {}

  /** VMRUN of the VMCB at word `v`; describes the guest's register page to the MMU. */
  enter(v: number): void {
    const { svm } = this;
    const control = svm.i32[v + Vmcb.INT_CONTROL]!;
    this.on = svm.features.avic && (control & IntControl.AVIC_ENABLE) !== 0;
    this.x2 = this.on && svm.features.x2avic && (control & IntControl.X2AVIC_ENABLE) !== 0;
    this.written = -1;
    this.refusedOffset = -1;
    svm.space.apicGuestPage = this.on && !this.x2 ? pageAt(svm, v + Vmcb.AVIC_BAR) / 4096 : -1;
    if (!this.on) return;
    this.page = pageAt(svm, v + Vmcb.AVIC_BACKING_PAGE);
    this.updatePpr();
  }

  /** #VMEXIT: V_TPR of the VMCB follows the register. */
  leave(): void {
    if (!this.on) return;
    const { i32, vmcb } = this.svm;
    i32[vmcb + Vmcb.INT_CONTROL] = (i32[vmcb + Vmcb.INT_CONTROL]! & ~IntControl.V_TPR) | ((this.read(ApicRegister.TPR) >>> 4) & 15);
    this.on = false;
    this.x2 = false;
    this.written = -1;
  }

  read(register: number): number {
    return this.svm.memory.read32(this.page + register);
  }

  write(register: number, value: number): void {
    this.svm.memory.write32(this.page + register, value >>> 0);
  }

  /** Sets or clears a vector's bit in a row of eight registers of a backing page. */
  mark(page: number, row: number, vector: number, on: boolean): void {
    const { memory } = this.svm;
    const at = page + row + ((vector >>> 5) << 4);
    const bit = 1 << (vector & 31);
    const old = memory.read32(at);
    memory.write32(at, (on ? old | bit : old & ~bit) >>> 0);
  }

  /** Highest vector of a row, 0 when there is none. */
  private highest(row: number): number {
    for (let i = WORDS - 1; i >= 0; i--) {
      const bits = this.read(row + 16 * i);
      if (bits !== 0) return 32 * i + 31 - Math.clz32(bits);
    }
    return 0;
  }

  private updatePpr(): void {
    const tpr = this.read(ApicRegister.TPR) & 0xff;
    const serving = this.highest(ApicRegister.ISR);
    this.write(ApicRegister.PPR, tpr >>> 4 >= serving >>> 4 ? tpr : serving & 0xf0);
  }

  /** The class of the task priority, for CR8. */
  readTpr(): number {
    return (this.read(ApicRegister.TPR) >>> 4) & 15;
  }

  writeTpr(value: number): void {
    this.write(ApicRegister.TPR, value & 0xff);
    this.updatePpr();
    this.svm.cpu.attention = 1;
  }

  /** Whether an interrupt is requested with a priority above that of the processor. */
  isPending(): boolean {
    return this.highest(ApicRegister.IRR) >>> 4 > (this.read(ApicRegister.PPR) >>> 4) % 16;
  }

  /** Delivers the pending interrupt with the highest priority; false: there is none that may come now. */
  deliver(): boolean {
    const { cpu } = this.svm;
    if ((cpu.w[RFLAGS]! & Rflags.IF) === 0 || !this.isPending()) return false;
    const vector = this.highest(ApicRegister.IRR);
    this.mark(this.page, ApicRegister.IRR, vector, false);
    this.mark(this.page, ApicRegister.ISR, vector, true);
    this.updatePpr();
    cpu.w[ACTIVITY] = Activity.ACTIVE;
    deliverInterrupt(cpu, vector, EventKind.INTERRUPT);
    return true;
  }

  /** An interrupt for this virtual CPU, from itself. */
  request(vector: number): void {
    this.mark(this.page, ApicRegister.IRR, vector, true);
    this.mark(this.page, ApicRegister.TMR, vector, false);
    this.svm.cpu.attention = 1;
  }

  /** Does what a written register does; true: `demand` is the exit that has to follow. */
  settle(): boolean {
    const register = this.written;
    this.written = -1;
    switch (register) {
      case ApicRegister.TPR:
        this.writeTpr(this.read(ApicRegister.TPR));
        return false;
      case ApicRegister.EOI:
        return this.endOfInterrupt();
      case ApicRegister.ICR_LOW:
        return sendIpi(this.svm, this.read(ApicRegister.ICR_LOW) | 0, this.read(ApicRegister.ICR_HIGH) | 0);
      case ApicRegister.SELF_IPI:
        this.request(this.read(ApicRegister.SELF_IPI) & 0xff);
        return false;
      default:
        return register >= 0 && writeRules[register >>> 4] === Rule.TRAP && this.unaccelerated(register, 0);
    }
  }

  /** The end of a level-triggered interrupt is the hypervisor's to tell its I/O APIC, and to mark. */
  private endOfInterrupt(): boolean {
    const vector = this.highest(ApicRegister.ISR);
    if (vector === 0) return false;
    if ((this.read(ApicRegister.TMR + ((vector >>> 5) << 4)) & (1 << (vector & 31))) !== 0) return this.unaccelerated(ApicRegister.EOI, vector);
    this.mark(this.page, ApicRegister.ISR, vector, false);
    this.updatePpr();
    this.svm.cpu.attention = 1;
    return false;
  }

  private unaccelerated(register: number, vector: number): true {
    return this.ask(ExitCode.AVIC_NOACCEL, register, NOACCEL_WRITE, vector, 0);
  }

  /** Fills `demand`. */
  ask(code: number, info1Lo: number, info1Hi: number, info2Lo: number, info2Hi: number): true {
    const { demand } = this;
    demand.code = code;
    demand.info1Lo = info1Lo;
    demand.info1Hi = info1Hi;
    demand.info2Lo = info2Lo;
    demand.info2Hi = info2Hi;
    return true;
  }
}
