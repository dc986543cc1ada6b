import { Cr4, Mode, Vector } from '@nestvm/isa';
import type { Instruction } from '@nestvm/decoder';
import { isCanonical, updateMode } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, KERNEL_GS_BASE, MODE, PKRU, SEG_BASE, XCR0 } from '../words.js';

const RCX = GPR + 2;
const RDX = GPR + 4;
const FS_BASE = SEG_BASE + 8;
const GS_BASE = SEG_BASE + 10;

/** Reads the model-specific register ECX into EDX:EAX. */
export function RDMSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const index = cpu.w[RCX]! >>> 0;
  if (cpu.intercepted('RDMSR', insn.length, index)) return Outcome.JUMPED;
  if (!cpu.msrs.read(index)) return cpu.raise(Vector.GP, 0);
  cpu.setGpr32(0, cpu.lo);
  cpu.setGpr32(2, cpu.hi);
  return Outcome.NEXT;
}

/** Writes EDX:EAX to the model-specific register ECX. */
export function WRMSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const index = w[RCX]! >>> 0;
  if (cpu.intercepted('WRMSR', insn.length, index, true)) return Outcome.JUMPED;
  return cpu.msrs.write(index, w[GPR]!, w[RDX]!) ? Outcome.NEXT : cpu.raise(Vector.GP, 0);
}

/** Exchanges GS.base and IA32_KERNEL_GS_BASE. */
export function SWAPGS(cpu: Vcpu): Outcome {
  const { w } = cpu;
  for (let half = 0; half < 2; half++) {
    const old = w[GS_BASE + half]!;
    w[GS_BASE + half] = w[KERNEL_GS_BASE + half]!;
    w[KERNEL_GS_BASE + half] = old;
  }
  return Outcome.NEXT;
}

function readBase(cpu: Vcpu, insn: Readonly<Instruction>, at: number): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.FSGSBASE) === 0) return cpu.raise(Vector.UD);
  w[GPR + 2 * insn.rm] = w[at]!;
  w[GPR + 2 * insn.rm + 1] = insn.operandSize === 64 ? w[at + 1]! : 0;
  return Outcome.NEXT;
}

function writeBase(cpu: Vcpu, insn: Readonly<Instruction>, at: number): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.FSGSBASE) === 0) return cpu.raise(Vector.UD);
  const hi = insn.operandSize === 64 ? w[GPR + 2 * insn.rm + 1]! : 0;
  if (!isCanonical(cpu, hi)) return cpu.raise(Vector.GP, 0);
  w[at] = w[GPR + 2 * insn.rm]!;
  w[at + 1] = hi;
  return Outcome.NEXT;
}

export const RDFSBASE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => readBase(cpu, insn, FS_BASE);
export const RDGSBASE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => readBase(cpu, insn, GS_BASE);
export const WRFSBASE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => writeBase(cpu, insn, FS_BASE);
export const WRGSBASE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => writeBase(cpu, insn, GS_BASE);

/** Reads the protection-key rights of user pages. */
export function RDPKRU(cpu: Vcpu): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.PKE) === 0) return cpu.raise(Vector.UD);
  if (w[RCX] !== 0) return cpu.raise(Vector.GP, 0);
  cpu.setGpr32(0, w[PKRU]!);
  cpu.setGpr32(2, 0);
  return Outcome.NEXT;
}

export function WRPKRU(cpu: Vcpu): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.PKE) === 0) return cpu.raise(Vector.UD);
  if (w[RCX] !== 0 || w[RDX] !== 0) return cpu.raise(Vector.GP, 0);
  w[PKRU] = w[GPR]!;
  cpu.mmu.setContext();
  return Outcome.NEXT;
}

/** Reads an extended control register: XCR0, or the components in use (ECX = 1). */
export function XGETBV(cpu: Vcpu): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.OSXSAVE) === 0) return cpu.raise(Vector.UD);
  const index = w[RCX]! >>> 0;
  if (index > 1 || (index === 1 && !cpu.features.xgetbv1)) return cpu.raise(Vector.GP, 0);
  cpu.setGpr32(0, w[XCR0]!);
  cpu.setGpr32(2, 0);
  return Outcome.NEXT;
}

/** Writes XCR0: x87 always, AVX only with SSE, and nothing that the model lacks (SDM Vol. 1, "Enabling the XSAVE Feature Set"). */
export function XSETBV(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.OSXSAVE) === 0) return cpu.raise(Vector.UD);
  if (w[CPL] !== 0 || (w[MODE]! & Mode.V8086) !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('XSETBV', insn.length)) return Outcome.JUMPED;
  const value = w[GPR]!;
  const bad = w[RCX] !== 0 || w[RDX] !== 0 || (value & 1) === 0 || (value & ~cpu.features.xcr0) !== 0 || (value & 6) === 4;
  if (bad) return cpu.raise(Vector.GP, 0);
  w[XCR0] = value;
  updateMode(cpu);
  return Outcome.NEXT;
}
