import type { Instruction } from '@nestvm/decoder';
import { readRm, writeGpr, writeRm } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { word } from '../words.js';

const FCW = word('fcw');
const FSW = word('fsw');
const FTOP = word('ftop');
const FTAG = word('ftag');
const POINTERS = [word('fop'), word('fcs'), word('fds'), word('fip'), word('fip') + 1, word('fdp'), word('fdp') + 1];

/** Initializes the x87 without looking at pending exceptions. */
export function FNINIT(cpu: Vcpu): Outcome {
  const { w } = cpu;
  w[FCW] = 0x37f;
  for (const at of [FSW, FTOP, FTAG, ...POINTERS]) w[at] = 0;
  return Outcome.NEXT;
}

/** Clears the x87 exception flags. */
export function FNCLEX(cpu: Vcpu): Outcome {
  cpu.w[FSW] = cpu.w[FSW]! & 0x7f00;
  return Outcome.NEXT;
}

/** Stores the control word. */
export const FNSTCW = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => (writeRm(cpu, insn, 16, cpu.w[FCW]!, 0) ? Outcome.NEXT : Outcome.FAULT);

/** Stores the status word, to memory or AX. */
export function FNSTSW(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const value = (cpu.w[FSW]! & ~0x3800) | (cpu.w[FTOP]! << 11);
  if (insn.mod === 3) {
    writeGpr(cpu, 0, 16, value, 0);
    return Outcome.NEXT;
  }
  return writeRm(cpu, insn, 16, value, 0) ? Outcome.NEXT : Outcome.FAULT;
}

/** Loads the control word: what it unmasks may become pending. */
export function FLDCW(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
  const { w } = cpu;
  w[FCW] = (cpu.lo & 0x1f7f) | 0x40;
  w[FSW] = (w[FSW]! & ~0x8080) | ((w[FSW]! & ~w[FCW]! & 0x3f) !== 0 ? 0x8080 : 0);
  return Outcome.NEXT;
}
