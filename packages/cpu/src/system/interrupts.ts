import { Cr4, Mode, Rflags, Vector } from '@nestvm/isa';
import type { Instruction } from '@nestvm/decoder';
import { iopl } from '../address.js';
import { softwareInterrupt } from '../events/deliver.js';
import { Outcome } from '../outcome.js';
import { EventKind } from '../ports/virtualization.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, MODE, RFLAGS } from '../words.js';

/** Software interrupt; in virtual-8086 mode it needs IOPL 3 (or VME's redirection). */
export function INT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const vector = insn.immediate & 0xff;
  if (cpu.intercepted('INT', insn.length, vector)) return Outcome.JUMPED;
  const { w } = cpu;
  if ((w[MODE]! & Mode.V8086) !== 0 && (w[CR4]! & Cr4.VME) === 0 && iopl(w[RFLAGS]!) < 3) return cpu.raise(Vector.GP, 0);
  return softwareInterrupt(cpu, vector, EventKind.SOFTWARE_INTERRUPT, insn.length);
}

/** Breakpoint. */
export function INT3(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  return softwareInterrupt(cpu, Vector.BP, EventKind.SOFTWARE_EXCEPTION, insn.length);
}

/** Overflow trap. */
export function INTO(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.readRflags() & Rflags.OF) === 0) return Outcome.NEXT;
  return softwareInterrupt(cpu, Vector.OF, EventKind.SOFTWARE_EXCEPTION, insn.length);
}

/** ICEBP. */
export function INT1(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  return softwareInterrupt(cpu, Vector.DB, EventKind.PRIVILEGED_SOFTWARE_EXCEPTION, insn.length);
}

/** Undefined instructions on purpose: UD0, UD1, UD2. */
export const undefinedInstruction = (cpu: Vcpu): Outcome => cpu.raise(Vector.UD);
