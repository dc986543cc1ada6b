import type { Vcpu } from '@nestvm/cpu';
import {
  ACTIVITY,
  Activity,
  deliverInterrupt,
  EventKind,
  endPhysicalInterrupt,
  GUEST_MODE,
  isUserNotification,
  processUserNotification,
} from '@nestvm/cpu/extension';
import { ApicRegister } from '@nestvm/isa';
import type { PhysicalMemory } from '@nestvm/memory';
import { Pin, Proc1, Proc2, Proc3 } from '../controls/controls.js';
import type { ControlsInForce } from '../controls-in-force.js';
import { F } from '../fields/layout.js';
import { addressAt } from '../state.js';
import type { ExitRecord } from '../transitions/exit-record.js';
import { ExitReason } from '../transitions/reasons.js';
import { isUnicast, postIpi } from './ipi.js';

const f = {
  page: F.VIRTUAL_APIC_ADDRESS,
  threshold: F.TPR_THRESHOLD,
  status: F.GUEST_INTERRUPT_STATUS,
  eoiExit: F.EOI_EXIT_BITMAP_0,
  descriptor: F.POSTED_INTERRUPT_DESCRIPTOR,
  notification: F.POSTED_INTERRUPT_VECTOR,
} as const;

/** What `deliver` did, when no exit is due. */
export const Delivery = { NONE: -2, DONE: -1 } as const;

const VECTORS_WORDS = 8;
/** Bit 256 of a posted-interrupt descriptor, as a bit of its byte 32: outstanding notification. */
const OUTSTANDING = 1;

/** What the virtual APIC works on: VMX of one vCPU has this shape. */
interface VirtualApicHost {
  readonly cpu: Vcpu;
  readonly memory: PhysicalMemory;
  readonly capabilities: { readonly reservedPhysicalHi: number };
  readonly controls: ControlsInForce;
  readonly exitRecord: ExitRecord;
  /** The arena in words, and the first word of the current VMCS. */
  readonly i32: Int32Array;
  readonly region: number;
}

/**
 * The virtual APIC of non-root operation (SDM Vol. 3, "APIC Virtualization and Virtual Interrupts"): TPR shadow, virtual interrupts, posted interrupts. Its
 * registers are in the virtual-APIC page, RVI and SVI in the guest-interrupt-status field.
 */
export class VirtualApic {
  /** Physical address of the virtual-APIC page. */
  page = 0;
  /** "Use TPR shadow", "virtual-interrupt delivery", "IPI virtualization". */
  shadow = false;
  delivers = false;
  sends = false;
  /** Offset of a register whose write is still to be emulated, -1 when there is none. */
  written = -1;
  /** An exit for a TPR below its threshold is due. */
  private belowThreshold = false;
  /** A virtual interrupt is recognized. */
  recognized = false;

  constructor(private readonly vmx: VirtualApicHost) {}

  /** VM entry: takes over what the VMCS says. */
  enter(): void {
    const { controls, i32, region } = this.vmx;
    this.shadow = controls.hasProc1(Proc1.USE_TPR_SHADOW);
    this.delivers = controls.hasProc2(Proc2.VIRTUAL_INTERRUPT_DELIVERY);
    this.sends = controls.hasProc3(Proc3.IPI_VIRTUALIZATION);
    this.written = -1;
    this.belowThreshold = false;
    this.recognized = false;
    if (!this.shadow) return;
    this.page = addressAt(i32, region + f.page);
    this.tprChanged();
  }

  /** VM exit. */
  leave(): void {
    this.written = -1;
    this.belowThreshold = false;
    this.recognized = false;
  }

  read(register: number): number {
    return this.vmx.memory.read32(this.page + register);
  }

  write(register: number, value: number): void {
    this.vmx.memory.write32(this.page + register, value >>> 0);
  }

  private get status(): number {
    return this.vmx.i32[this.vmx.region + f.status]! & 0xffff;
  }

  private set status(value: number) {
    this.vmx.i32[this.vmx.region + f.status] = value & 0xffff;
  }

  /** CR8 reads: the class of the virtual TPR, or -1 without a shadow. */
  readTpr(): number {
    return this.shadow ? (this.read(ApicRegister.TPR) >>> 4) & 15 : -1;
  }

  /** CR8 writes; false without a shadow. */
  writeTpr(value: number): boolean {
    if (!this.shadow) return false;
    this.write(ApicRegister.TPR, (value & 15) << 4);
    this.tprChanged();
    return true;
  }

  /** TPR virtualization. */
  tprChanged(): void {
    const { i32, region, cpu } = this.vmx;
    if (this.delivers) {
      this.updatePpr();
      this.evaluate();
      return;
    }
    this.belowThreshold = ((this.read(ApicRegister.TPR) >>> 4) & 15) < (i32[region + f.threshold]! & 15);
    if (this.belowThreshold) cpu.attention = 1;
  }

  /** PPR virtualization. */
  private updatePpr(): void {
    const tpr = this.read(ApicRegister.TPR) & 0xff;
    const serving = this.status >>> 8;
    this.write(ApicRegister.PPR, tpr >>> 4 >= serving >>> 4 ? tpr : serving & 0xf0);
  }

  /** Evaluation of pending virtual interrupts. */
  private evaluate(): void {
    const { controls, cpu } = this.vmx;
    const requesting = this.status & 0xff;
    this.recognized = !controls.hasProc1(Proc1.INTERRUPT_WINDOW_EXITING) && requesting >>> 4 > ((this.read(ApicRegister.PPR) >>> 4) & 15);
    if (this.recognized) cpu.attention = 1;
  }

  private setBit(base: number, vector: number, on: boolean): void {
    const register = base + ((vector >>> 5) << 4);
    const bit = 1 << (vector & 31);
    const old = this.read(register);
    this.write(register, on ? old | bit : old & ~bit);
  }

  /** Highest vector set in a row of eight registers, 0 when there is none. */
  private highest(base: number): number {
    for (let i = VECTORS_WORDS - 1; i >= 0; i--) {
      const bits = this.read(base + 16 * i);
      if (bits !== 0) return 32 * i + 31 - Math.clz32(bits);
    }
    return 0;
  }

  /** Requests a virtual interrupt: self-IPI virtualization. */
  request(vector: number): void {
    this.setBit(ApicRegister.IRR, vector, true);
    const { status } = this;
    this.status = (status & 0xff00) | Math.max(status & 0xff, vector);
    this.evaluate();
  }

  /** EOI virtualization; gives the exit that it demands, or -1. */
  endOfInterrupt(): number {
    const { i32, region } = this.vmx;
    const vector = this.status >>> 8;
    this.write(ApicRegister.EOI, 0);
    this.setBit(ApicRegister.ISR, vector, false);
    this.status = (this.status & 0xff) | (this.highest(ApicRegister.ISR) << 8);
    this.updatePpr();
    const word = i32[region + f.eoiExit + (vector >>> 5)]!;
    if (((word >>> (vector & 31)) & 1) !== 0) return this.demand(ExitReason.VIRTUALIZED_EOI, vector);
    this.evaluate();
    return -1;
  }

  /** An exit with this qualification, in place of whatever else was about to become one. */
  private demand(reason: number, qualification: number): number {
    const { exitRecord, cpu } = this.vmx;
    exitRecord.clear();
    exitRecord.qualify(qualification);
    cpu.vectoring = 0;
    return reason;
  }

  /**
   * Delivers a recognized virtual interrupt; the caller has found that interrupts may be taken. The notification of user interrupts ends here, as a physical one would, so
   * the EOI-exit bitmap is asked: an exit reason says that the exit is due now. Else `Delivery`.
   */
  deliver(): number {
    if (!this.recognized) return Delivery.NONE;
    const { cpu } = this.vmx;
    const vector = this.status & 0xff;
    this.recognized = false;
    this.setBit(ApicRegister.ISR, vector, true);
    this.setBit(ApicRegister.IRR, vector, false);
    this.write(ApicRegister.PPR, vector & 0xf0);
    this.status = (vector << 8) | this.highest(ApicRegister.IRR);
    if (isUserNotification(cpu, vector)) {
      const reason = this.endOfInterrupt();
      processUserNotification(cpu);
      // A fault of it may have left already.
      return reason >= 0 && cpu.w[GUEST_MODE] !== 0 ? this.demand(reason, vector) : Delivery.DONE;
    }
    cpu.w[ACTIVITY] = Activity.ACTIVE;
    deliverInterrupt(cpu, vector, EventKind.INTERRUPT);
    return Delivery.DONE;
  }

  /** An acknowledged external interrupt: true when it is the notification of posted interrupts, which is dealt with here. */
  takeNotification(vector: number): boolean {
    const { controls, i32, region, cpu } = this.vmx;
    if (!controls.hasPin(Pin.PROCESS_POSTED_INTERRUPTS) || vector !== (i32[region + f.notification]! & 0xff)) return false;
    endPhysicalInterrupt(cpu);
    this.takePosted(addressAt(i32, region + f.descriptor));
    return true;
  }

  /** Posted-interrupt processing: requests move from the descriptor to VIRR. */
  private takePosted(descriptor: number): void {
    const { memory } = this.vmx;
    memory.write8(descriptor + 32, memory.read8(descriptor + 32) & ~OUTSTANDING);
    let highest = -1;
    for (let i = 0; i < VECTORS_WORDS; i++) {
      const posted = memory.read32(descriptor + 4 * i);
      if (posted === 0) continue;
      memory.write32(descriptor + 4 * i, 0);
      this.write(ApicRegister.IRR + 16 * i, this.read(ApicRegister.IRR + 16 * i) | posted);
      highest = 32 * i + 31 - Math.clz32(posted);
    }
    const { status } = this;
    if (highest > (status & 0xff)) this.status = (status & 0xff00) | highest;
    this.evaluate();
  }

  /** What follows a write to the virtual-APIC page, or a TPR below its threshold; gives the exit that comes of it, or -1. */
  service(): number {
    const reason = this.settle(-1);
    return reason < 0 && this.belowThreshold ? ExitReason.TPR_BELOW_THRESHOLD : reason;
  }

  /** Emulates a write that still waits; gives the exit that comes of it, else `reason`. */
  settle(reason: number): number {
    const register = this.written;
    if (register < 0) return reason;
    this.written = -1;
    const demanded = this.emulateWrite(register);
    return demanded < 0 ? reason : demanded;
  }

  /** APIC-write emulation; gives the exit that it demands, or -1. */
  private emulateWrite(register: number): number {
    switch (register) {
      case ApicRegister.TPR:
        this.write(ApicRegister.TPR, this.read(ApicRegister.TPR) & 0xff);
        this.tprChanged();
        return -1;
      case ApicRegister.EOI:
        return this.delivers ? this.endOfInterrupt() : this.unaccelerated(register);
      case ApicRegister.ICR_HIGH:
        this.write(ApicRegister.ICR_HIGH, this.read(ApicRegister.ICR_HIGH) & 0xff000000);
        return -1;
      case ApicRegister.ICR_LOW: {
        const command = this.read(ApicRegister.ICR_LOW);
        if (this.delivers && isSelfIpi(command)) this.request(command & 0xff);
        else if (!this.post(command, this.read(ApicRegister.ICR_HIGH) >>> 24)) return this.unaccelerated(register);
        return -1;
      }
      default:
        return this.unaccelerated(register);
    }
  }

  /** IPI virtualization of a command; false: it is not of the kind that can be virtualized, or leads nowhere. */
  post(command: number, target: number): boolean {
    return this.sends && isUnicast(command) && postIpi(this.vmx, command & 0xff, target);
  }

  /** The APIC-write exit for a register. */
  unaccelerated(register: number): number {
    return this.demand(ExitReason.APIC_WRITE, register);
  }
}

/** A fixed, edge-triggered IPI to oneself with a vector of at least 16, and no reserved bits. */
const isSelfIpi = (command: number): boolean => (command & ~0x4_40ff & ~0x800) === 0 && (command & 0xc0000) === 0x40000 && (command & 0xf0) !== 0;
