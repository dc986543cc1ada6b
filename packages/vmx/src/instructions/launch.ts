import { INTERRUPTIBILITY, type Instruction, MODE, Outcome, Shadow } from '@nestvm/cpu/extension';
import { Mode } from '@nestvm/isa';
import { VmcsHeader } from '../fields/layout.js';
import { VmxWord } from '../state.js';
import { checkEntry } from '../transitions/check-entry.js';
import { enterGuest } from '../transitions/entry.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { exitWithoutOperand, inNonRoot } from './exits.js';
import { fail, failInvalid, InstructionError, isPrivileged, isUndefinedHere, protection, undefinedOpcode } from './results.js';

function launch(vmx: Vmx, insn: Readonly<Instruction>, resume: boolean): Outcome {
  const { cpu, i32 } = vmx;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  if (inNonRoot(cpu)) return exitWithoutOperand(vmx, resume ? ExitReason.VMRESUME : ExitReason.VMLAUNCH, insn);
  if (!isPrivileged(cpu)) return protection(cpu);
  const { region } = vmx;
  // A shadow VMCS cannot be entered.
  if (region < 0 || i32[region + VmcsHeader.REVISION]! < 0) return failInvalid(vmx);
  if ((cpu.w[INTERRUPTIBILITY]! & Shadow.MOV_SS) !== 0) return fail(vmx, InstructionError.MOV_SS_BLOCKING);
  const session = i32[region + VmcsHeader.LAUNCHED]!;
  const launched = session !== 0;
  if (!resume && launched) return fail(vmx, InstructionError.VMLAUNCH_NOT_CLEAR);
  if (resume && !launched) return fail(vmx, InstructionError.VMRESUME_NOT_LAUNCHED);
  if (resume && session !== cpu.w[VmxWord.SESSION]) return fail(vmx, InstructionError.VMRESUME_AFTER_VMXOFF);
  const failure = checkEntry(vmx);
  if (failure > 0) {
    vmx.counters.failedEntries++;
    vmx.onFailedEntry?.(cpu);
    return fail(vmx, failure);
  }
  if (failure === 0) {
    vmx.enteredByStep = (cpu.w[MODE]! & Mode.SINGLE) !== 0;
    enterGuest(vmx);
  }
  return Outcome.JUMPED;
}

export const VMLAUNCH = (vmx: Vmx, insn: Readonly<Instruction>): Outcome => launch(vmx, insn, false);
export const VMRESUME = (vmx: Vmx, insn: Readonly<Instruction>): Outcome => launch(vmx, insn, true);
