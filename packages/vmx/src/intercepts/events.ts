import { EventKind } from '@nestvm/cpu/extension';
import { Exit, Pin } from '../controls/controls.js';
import { exitGuest } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

const VALID = 1 << 31;
const NMI_VECTOR = 2;
/** Sources of a task switch, as bits 31:30 of the qualification have them. */
const GATE_IN_IDT = 3;

function leave(vmx: Vmx, reason: number): true {
  exitGuest(vmx, reason);
  return true;
}

function externalInterrupt(vmx: Vmx): boolean {
  const { controls, exitRecord, cpu } = vmx;
  if (!controls.externalInterruptExiting) return false;
  if (controls.hasExit(Exit.ACKNOWLEDGE_INTERRUPT)) {
    const vector = cpu.interrupts.acknowledge();
    if (vmx.apic.takeNotification(vector)) return true;
    exitRecord.interruption = VALID | vector | (EventKind.INTERRUPT << 8);
  }
  return leave(vmx, ExitReason.EXTERNAL_INTERRUPT);
}

function nonMaskable(vmx: Vmx): boolean {
  if (!vmx.controls.hasPin(Pin.NMI_EXITING)) return false;
  vmx.exitRecord.interruption = VALID | NMI_VECTOR | (EventKind.NMI << 8);
  return leave(vmx, ExitReason.EXCEPTION_OR_NMI);
}

/** A task switch exits always: `detail` is the selector, and the source in bits 31:30. */
function taskSwitch(vmx: Vmx, detail: number): boolean {
  const { cpu, exitRecord } = vmx;
  exitRecord.qualify(detail | 0);
  if (detail >>> 30 !== GATE_IN_IDT) exitRecord.length = cpu.instruction!.length;
  return leave(vmx, ExitReason.TASK_SWITCH);
}

function tripleFault(vmx: Vmx): boolean {
  vmx.cpu.vectoring = 0;
  return leave(vmx, ExitReason.TRIPLE_FAULT);
}

/** See `Virtualization.interceptEvent`. */
export function interceptEvent(vmx: Vmx, event: 'INTR' | 'NMI' | 'SMI' | 'INIT' | 'SIPI' | 'SHUTDOWN' | 'TASK_SWITCH', detail: number): boolean {
  switch (event) {
    case 'INTR':
      return externalInterrupt(vmx);
    case 'NMI':
      return nonMaskable(vmx);
    case 'SMI':
      // Default treatment: SMM takes it, and knows how to come back.
      return false;
    case 'INIT':
      return leave(vmx, ExitReason.INIT);
    case 'SIPI':
      vmx.exitRecord.qualify(detail);
      return leave(vmx, ExitReason.SIPI);
    case 'SHUTDOWN':
      return tripleFault(vmx);
    case 'TASK_SWITCH':
      return taskSwitch(vmx, detail);
  }
}
