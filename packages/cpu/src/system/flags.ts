import type { Instruction } from '@nestvm/decoder';
import { Cr4, Mode, Rflags, Vector } from '@nestvm/isa';
import { iopl } from '../address.js';
import { Shadow, updateMode, updateModeBits } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, INTERRUPTIBILITY, MODE, RFLAGS } from '../words.js';

const FLAGS16 = 0x7fd5;

/** Begins an interrupt shadow: the next instruction runs alone, and no interrupt is taken before it. */
export function beginShadow(cpu: Vcpu, kind: number): void {
  cpu.w[INTERRUPTIBILITY] = cpu.w[INTERRUPTIBILITY]! | kind;
  cpu.freshShadow = 1;
  updateModeBits(cpu);
}

/** True when CLI, STI, PUSHF and POPF work on VIF in place of IF here: VME in virtual-8086 mode, PVI at CPL 3 in protected mode. */
function usesVif(cpu: Vcpu): boolean {
  const w = cpu.w;
  const mode = w[MODE]!;
  if (iopl(w[RFLAGS]!) === 3) return false;
  if ((mode & Mode.V8086) !== 0) return (w[CR4]! & Cr4.VME) !== 0;
  return (mode & Mode.PROTECTED) !== 0 && w[CPL] === 3 && (w[CR4]! & Cr4.PVI) !== 0;
}

/** True when the program may change IF itself. */
function mayChangeIf(cpu: Vcpu): boolean {
  const w = cpu.w;
  const mode = w[MODE]!;
  if ((mode & (Mode.PROTECTED | Mode.V8086)) === 0) return true;
  return iopl(w[RFLAGS]!) >= ((mode & Mode.V8086) !== 0 ? 3 : w[CPL]!);
}

/** Clears IF, or VIF under VME and PVI (SDM Vol. 2, CLI). */
export function CLI(cpu: Vcpu): Outcome {
  const w = cpu.w;
  if (mayChangeIf(cpu)) w[RFLAGS] = w[RFLAGS]! & ~Rflags.IF;
  else if (usesVif(cpu)) w[RFLAGS] = w[RFLAGS]! & ~Rflags.VIF;
  else return cpu.raise(Vector.GP, 0);
  return Outcome.NEXT;
}

/** Sets IF and holds interrupts off for one more instruction; VIF under VME and PVI (SDM Vol. 2, STI). */
export function STI(cpu: Vcpu): Outcome {
  const w = cpu.w;
  const rflags = w[RFLAGS]!;
  if (mayChangeIf(cpu)) {
    if ((rflags & Rflags.IF) === 0) {
      w[RFLAGS] = rflags | Rflags.IF;
      beginShadow(cpu, Shadow.STI);
    }
    return Outcome.NEXT;
  }
  if (!usesVif(cpu) || (rflags & Rflags.VIP) !== 0) return cpu.raise(Vector.GP, 0);
  w[RFLAGS] = rflags | Rflags.VIF;
  return Outcome.NEXT;
}

/** Pushes RFLAGS without RF and VM (SDM Vol. 2, PUSHF). */
export function PUSHF(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('PUSHF', insn.length)) return Outcome.JUMPED;
  const w = cpu.w;
  let image = cpu.readRflags() & ~(Rflags.RF | Rflags.VM);
  if ((w[MODE]! & Mode.V8086) !== 0 && iopl(image) < 3) {
    if ((w[CR4]! & Cr4.VME) === 0 || insn.operandSize !== 16) return cpu.raise(Vector.GP, 0);
    // VME: IF shows VIF, IOPL shows 3.
    image = (image & ~Rflags.IF) | ((image & Rflags.VIF) !== 0 ? Rflags.IF : 0) | Rflags.IOPL;
  }
  const { stack } = cpu;
  stack.openCurrent();
  if (!stack.push(insn.operandSize >>> 3, image, 0)) return Outcome.FAULT;
  stack.commit();
  return Outcome.NEXT;
}

/** Which RFLAGS bits POPF may change at this privilege; IF only when CPL allows, IOPL only at level 0. */
function popMask(cpu: Vcpu, operandSize: number): number {
  const w = cpu.w;
  const virtual = (w[MODE]! & Mode.V8086) !== 0;
  let mask = Rflags.ARITHMETIC | Rflags.TF | Rflags.DF | Rflags.NT | Rflags.AC | Rflags.ID;
  if (mayChangeIf(cpu)) mask |= Rflags.IF;
  if (!virtual && w[CPL] === 0) mask |= Rflags.IOPL;
  return operandSize === 16 ? mask & FLAGS16 : mask;
}

/** POPF of 16 bits in virtual-8086 mode under VME with IOPL below 3: IF goes to VIF. */
function popVirtual(cpu: Vcpu, value: number): Outcome {
  const w = cpu.w;
  const rflags = w[RFLAGS]!;
  if ((value & Rflags.TF) !== 0 || ((value & Rflags.IF) !== 0 && (rflags & Rflags.VIP) !== 0)) return cpu.raise(Vector.GP, 0);
  const mask = FLAGS16 & ~(Rflags.IF | Rflags.IOPL);
  cpu.stack.commit();
  const vif = (value & Rflags.IF) !== 0 ? Rflags.VIF : 0;
  cpu.writeRflags((rflags & ~mask & ~Rflags.VIF) | (value & mask) | vif);
  updateModeBits(cpu);
  return Outcome.NEXT;
}

/** Pops RFLAGS under the rules of CPL, IOPL and mode (SDM Vol. 2, POPF). */
export function POPF(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('POPF', insn.length)) return Outcome.JUMPED;
  const w = cpu.w;
  const { stack } = cpu;
  const virtualized = (w[MODE]! & Mode.V8086) !== 0 && iopl(w[RFLAGS]!) < 3;
  if (virtualized && ((w[CR4]! & Cr4.VME) === 0 || insn.operandSize !== 16)) return cpu.raise(Vector.GP, 0);
  stack.openCurrent();
  if (!stack.pop(insn.operandSize >>> 3)) return Outcome.FAULT;
  const value = cpu.lo;
  if (virtualized) return popVirtual(cpu, value);
  stack.commit();
  const old = w[RFLAGS]!;
  const mask = popMask(cpu, insn.operandSize);
  // RF is cleared, whatever the image says; VM, VIF and VIP stay.
  const flags = ((old & ~mask) | (value & mask)) & ~Rflags.RF;
  cpu.writeRflags(flags);
  const changed = old ^ flags;
  if ((changed & Rflags.AC) !== 0) updateMode(cpu);
  else if ((changed & (Rflags.TF | Rflags.RF)) !== 0) updateModeBits(cpu);
  if ((flags & ~old & Rflags.IF) !== 0) cpu.attention = 1;
  return Outcome.NEXT;
}

/** Sets RFLAGS.AC: suspends SMAP (SDM Vol. 2, STAC). */
export function STAC(cpu: Vcpu): Outcome {
  if (cpu.w[CPL] !== 0) return cpu.raise(Vector.UD);
  cpu.w[RFLAGS] = cpu.w[RFLAGS]! | Rflags.AC;
  updateMode(cpu);
  return Outcome.NEXT;
}

/** Clears RFLAGS.AC (SDM Vol. 2, CLAC). */
export function CLAC(cpu: Vcpu): Outcome {
  if (cpu.w[CPL] !== 0) return cpu.raise(Vector.UD);
  cpu.w[RFLAGS] = cpu.w[RFLAGS]! & ~Rflags.AC;
  updateMode(cpu);
  return Outcome.NEXT;
}
