import type { EventKind, NestedReport, Vcpu, Virtualization } from '@nestvm/cpu';
import { GUEST_MODE, Place, Shadow } from '@nestvm/cpu/extension';
import type { SensitiveEvent } from '@nestvm/isa';
import type { PhysicalMemory } from '@nestvm/memory';
import type { Mmu } from '@nestvm/mmu';
import { inspectActivity, isOn } from './activity.js';
import { apicAccess, refusedAccess } from './avic/accesses.js';
import { RememberedChecks } from './checks/remembered.js';
import type { VmrunView } from './checks/view.js';
import { SvmContext } from './context.js';
import { exitIndexName } from './exits/codes.js';
import { explainRefusal } from './explain/refusals.js';
import { createSvmFeatures } from './features.js';
import { installInstructions } from './instructions/instructions.js';
import {
  awaitsInterruptFlag,
  interceptEvent,
  physicalInterruptsAllowed,
  redirectInit,
  serviceVirtualInterrupt,
  serviceVirtualNmi,
  virtualNmis,
} from './intercepts/events.js';
import { interceptException, nestedPageFault } from './intercepts/exceptions.js';
import { interceptInstruction } from './intercepts/intercept.js';
import { lendMsrMap, msrBit } from './intercepts/permission-maps.js';
import { serviceWriteTrap } from './intercepts/write-traps.js';
import { installMsrs, resetMsrs } from './msrs.js';
import { scaleTsc, unscaleTicks } from './transitions/tsc.js';
import { serviceWrite } from './transitions/vmexit.js';
import { resumeGuest } from './transitions/vmrun.js';
import { IntControl, NestedControl, Vmcb } from './vmcb/layout.js';
import { SMM_GUEST, VMCB_ADDRESS } from './words.js';

/** What SVM needs beside the vCPU. */
export interface SvmOptions {
  /** Guest-physical memory, where the VMCBs are. */
  readonly memory: PhysicalMemory;
  /** The MMU of the vCPU. */
  readonly mmu: Mmu;
  /** All vCPUs of the machine: AVIC sends them doorbells. Default: this one alone. */
  readonly vcpus?: () => readonly Vcpu[];
}

/** AMD SVM on one vCPU. */
export class Svm implements Virtualization {
  readonly context: SvmContext;
  /** What the checks look at, for `explain` and `lint`. */
  readonly view: VmrunView;
  onFailedEntry: ((cpu: Vcpu) => void) | null = null;
  onRefusal: ((cpu: Vcpu, explain: () => readonly string[]) => void) | null = null;

  constructor(cpu: Vcpu, options: SvmOptions) {
    this.context = new SvmContext(cpu, options.memory, options.mmu, createSvmFeatures(cpu), options.vcpus ?? (() => [cpu]));
    const checks = new RememberedChecks();
    this.view = { cpu, svm: this.context, i32: this.context.i32, v: 0, isConsistent: () => checks.pass(this.view) };
    installMsrs(this.context);
    installInstructions(this.context, this.view, (insn) => this.onRefusal?.(cpu, () => explainRefusal(this.view, insn)));
    resetMsrs(this.context);
    options.memory.observe({ mapChanged: () => cpu.w[GUEST_MODE] !== 0 && lendMsrMap(this.context), writeAccessRevoked: () => undefined });
  }

  get counters(): SvmContext['counters'] {
    return this.context.counters;
  }

  get ledger(): SvmContext['ledger'] {
    return this.context.ledger;
  }

  get enabled(): boolean {
    return isOn(this.context);
  }

  inspect(anywhere: boolean): readonly NestedReport[] {
    return inspectActivity(this.context, anywhere);
  }

  broadcastTag(): number {
    const { i32, vmcb } = this.context;
    return (i32[vmcb + Vmcb.NESTED_CONTROL]! & NestedControl.INVLPGB_ENABLE) !== 0 ? i32[vmcb + Vmcb.ASID]! : -1;
  }

  exitName(reason: number): string {
    return exitIndexName(reason);
  }

  intercept(_cpu: Vcpu, event: SensitiveEvent, length: number, number: number, write: boolean, extra: number): boolean {
    return interceptInstruction(this.context, event, length, number, write, extra);
  }

  interceptException(_cpu: Vcpu, vector: number, error: number, hasError: boolean, kind: EventKind): boolean {
    return interceptException(this.context, vector, error, hasError, kind);
  }

  secondStageFault(): void {
    if (this.context.avic.refusedOffset >= 0) refusedAccess(this.context);
    else nestedPageFault(this.context);
  }

  interceptEvent(_cpu: Vcpu, event: 'INTR' | 'NMI' | 'SMI' | 'INIT' | 'SIPI' | 'SHUTDOWN' | 'TASK_SWITCH', detail: number): boolean {
    return interceptEvent(this.context, event, detail);
  }

  interruptsAllowed(): boolean {
    return physicalInterruptsAllowed(this.context);
  }

  service(_cpu: Vcpu, place: Place): boolean {
    if (place === Place.BEFORE_TRAPS) return serviceWriteTrap(this.context) || serviceWrite(this.context);
    return place === Place.BEFORE_NMI && serviceVirtualNmi(this.context);
  }

  serviceGuest(_cpu: Vcpu, held: boolean): boolean {
    return serviceVirtualInterrupt(this.context, held);
  }

  msrBit(index: number, write: boolean): number {
    return msrBit(index, write);
  }

  awaitsInterruptFlag(): boolean {
    return awaitsInterruptFlag(this.context);
  }

  apicAccess(_cpu: Vcpu, bytes: number, access: number): boolean {
    return apicAccess(this.context, bytes, access);
  }

  readVirtualTpr(): number {
    if (this.context.avic.on) return this.context.avic.readTpr();
    const control = this.context.i32[this.context.vmcb + Vmcb.INT_CONTROL]!;
    return (control & IntControl.V_INTR_MASKING) !== 0 ? control & 15 : -1;
  }

  writeVirtualTpr(cpu: Vcpu, value: number): boolean {
    const { i32, vmcb, avic } = this.context;
    if (avic.on) {
      avic.writeTpr(value << 4);
      return true;
    }
    const control = i32[vmcb + Vmcb.INT_CONTROL]!;
    // Without V_INTR_MASKING the APIC's own TPR gets it as well.
    i32[vmcb + Vmcb.INT_CONTROL] = (control & ~IntControl.V_TPR) | value;
    cpu.attention = 1;
    return (control & IntControl.V_INTR_MASKING) !== 0;
  }

  get tscOffsetLo(): number {
    return this.context.tscOffsetLo;
  }

  get tscOffsetHi(): number {
    return this.context.tscOffsetHi;
  }

  scaleTsc(): void {
    if (this.context.features.tscScale) scaleTsc(this.context);
  }

  unscaleTicks(ticks: number): number {
    return this.context.features.tscScale ? unscaleTicks(this.context, ticks) : ticks;
  }

  /** Physical address of the VMCB that was entered last. */
  get vmcbAddress(): number {
    const { w } = this.context.cpu;
    return (w[VMCB_ADDRESS + 1]! >>> 0) * 4294967296 + (w[VMCB_ADDRESS]! >>> 0);
  }

  /** Physical NMIs are held off by the processor's own mask, also while the guest has virtual ones. */
  readonly nmiBlockedBy = Shadow.NMI | Shadow.MOV_SS | Shadow.STI;

  /** APM Vol. 2, "Instruction Intercepts". */
  readonly interceptsLast = true;

  get iretUnblocks(): number {
    return virtualNmis(this.context) ? Shadow.VIRTUAL_NMI : Shadow.NMI;
  }

  redirectInit(cpu: Vcpu): boolean {
    return redirectInit(this.context, cpu);
  }

  /** An SMI that is not intercepted: the handler runs outside of guest mode. */
  enterSmm(cpu: Vcpu): void {
    const { w } = cpu;
    w[SMM_GUEST] = w[GUEST_MODE]!;
    if (w[GUEST_MODE] === 0) return;
    w[GUEST_MODE] = 0;
    this.context.mmu.leaveGuest();
  }

  /** RSM: back into guest mode, if it was interrupted. */
  leaveSmm(cpu: Vcpu): void {
    const { w } = cpu;
    if (w[SMM_GUEST] === 0) return;
    w[GUEST_MODE] = w[SMM_GUEST]!;
    w[SMM_GUEST] = 0;
    this.context.mmu.enterGuest(this.context.space);
  }

  restored(): void {
    this.ledger.forget();
    if (this.context.mmu.inGuest) this.context.mmu.leaveGuest();
    if (this.context.cpu.w[GUEST_MODE] !== 0) resumeGuest(this.context);
  }

  reset(): void {
    if (this.context.mmu.inGuest) this.context.mmu.leaveGuest();
    resetMsrs(this.context);
    this.ledger.forget();
  }
}

/** Gives a vCPU SVM: its MSRs, instructions, and guest mode. The CPU model must offer `svm`. */
export function attachSvm(cpu: Vcpu, options: SvmOptions): Svm {
  const svm = new Svm(cpu, options);
  cpu.virtualization = svm;
  return svm;
}
