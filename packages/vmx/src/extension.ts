import type { NestedReport, Vcpu, Virtualization } from '@nestvm/cpu';
import { type EventKind, type Place, RFLAGS } from '@nestvm/cpu/extension';
import { Rflags, type SensitiveEvent } from '@nestvm/isa';
import { inspectActivity } from './activity.js';
import { apicAccess } from './apic/accesses.js';
import { leaveList, readVirtualMsr, writeListedMsr } from './apic/msrs.js';
import { sendUserIpi } from './apic/user-ipi.js';
import { Proc1 } from './controls/controls.js';
import { inNonRoot } from './instructions/exits.js';
import { mergedControl, visibleControl } from './intercepts/control-registers.js';
import { interceptEvent } from './intercepts/events.js';
import { interceptException } from './intercepts/exceptions.js';
import { intercept } from './intercepts/instructions.js';
import { msrBit } from './intercepts/msrs.js';
import { secondStageFault } from './intercepts/pages.js';
import { serviceOwnEvents } from './intercepts/windows.js';
import { resumeGuest } from './transitions/entry.js';
import { enterSmm, leaveSmm } from './transitions/smm.js';
import { scaleTsc } from './transitions/time.js';
import { Vmx } from './vmx.js';

/** Intel VMX behind the port of the vCPU: each question of the port goes to the file that answers it. */
export class VmxExtension extends Vmx implements Virtualization {
  override restored(): void {
    super.restored();
    if (inNonRoot(this.cpu) && this.region >= 0) resumeGuest(this);
  }

  enterSmm(): void {
    enterSmm(this);
  }

  leaveSmm(): void {
    leaveSmm(this);
  }

  intercept(_cpu: Vcpu, event: SensitiveEvent, length: number, number: number, write: boolean, extra: number): boolean {
    return intercept(this, event, length, number, write, extra);
  }

  interceptException(_cpu: Vcpu, vector: number, error: number, hasError: boolean, kind: EventKind): boolean {
    return interceptException(this, vector, error, hasError, kind);
  }

  secondStageFault(): void {
    secondStageFault(this);
  }

  interceptEvent(_cpu: Vcpu, event: 'INTR' | 'NMI' | 'SMI' | 'INIT' | 'SIPI' | 'SHUTDOWN' | 'TASK_SWITCH', detail: number): boolean {
    return interceptEvent(this, event, detail);
  }

  interruptsAllowed(): boolean {
    return this.controls.externalInterruptExiting || (this.cpu.w[RFLAGS]! & Rflags.IF) !== 0;
  }

  msrBit(index: number, write: boolean): number {
    return msrBit(index, write);
  }

  awaitsInterruptFlag(): boolean {
    return this.controls.hasProc1(Proc1.INTERRUPT_WINDOW_EXITING) || this.apic.recognized;
  }

  service(_cpu: Vcpu, place: Place): boolean {
    return serviceOwnEvents(this, place);
  }

  completed(): void {
    // VMLAUNCH and VMRESUME that L1 itself steps complete in the guest's world, and are no instruction of the guest.
    if (this.enteredByStep) {
      this.enteredByStep = false;
      return;
    }
    this.trapPending = true;
    this.cpu.attention = 1;
  }

  apicAccess(_cpu: Vcpu, bytes: number, access: number): boolean {
    return apicAccess(this, bytes, access);
  }

  readVirtualTpr(): number {
    return this.apic.readTpr();
  }

  writeVirtualTpr(_cpu: Vcpu, value: number): boolean {
    return this.apic.writeTpr(value);
  }

  visibleControl(_cpu: Vcpu, register: 0 | 4): void {
    visibleControl(this, register);
  }

  mergedControl(_cpu: Vcpu, register: 0 | 4, value: number): number {
    return mergedControl(this, register, value);
  }

  scaleTsc(): void {
    scaleTsc(this);
  }

  sendIpi(_cpu: Vcpu, length: number, vector: number, destination: number): boolean {
    return sendUserIpi(this, length, vector, destination);
  }

  readListedMsr(_cpu: Vcpu, index: number): boolean {
    return readVirtualMsr(this, index);
  }

  writeListedMsr(_cpu: Vcpu, index: number): number {
    return writeListedMsr(this, index);
  }

  leaveList(_cpu: Vcpu, length: number, last: boolean): boolean {
    return leaveList(this, length, last);
  }

  get enabled(): boolean {
    return this.on;
  }

  inspect(anywhere: boolean): readonly NestedReport[] {
    return inspectActivity(this, anywhere);
  }
}
