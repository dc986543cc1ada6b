import { Vector } from '@nestvm/isa';
import type { Instruction } from '@nestvm/decoder';
import { Outcome } from '../outcome.js';
import type { CpuidState } from '../ports/model.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, TSC_AUX, word, XCR0, XSS } from '../words.js';
import { readTsc } from '../msr/time.js';

const APIC_BASE = word('apicBase');
const MISC_ENABLE = word('miscEnable');
const [RAX, RCX, RDX, RBX] = [0, 1, 2, 3];
const CR4_TSD = 1 << 2;
const CR4_PCE = 1 << 8;

/** Processor identification (SDM Vol. 2, CPUID). */
export function CPUID(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const leaf = w[GPR]! >>> 0;
  if (cpu.intercepted('CPUID', insn.length, leaf)) return Outcome.JUMPED;
  const state: CpuidState = {
    apicId: cpu.apicId,
    apicEnabled: (w[APIC_BASE]! & 0x800) !== 0,
    cr4: w[CR4]!,
    xcr0: w[XCR0]!,
    xss: w[XSS]!,
    limitMaximum: (w[MISC_ENABLE]! & (1 << 22)) !== 0,
  };
  const result = cpu.model.cpuid(leaf, w[GPR + 2 * RCX]! >>> 0, state);
  cpu.setGpr32(RAX, result.eax);
  cpu.setGpr32(RBX, result.ebx);
  cpu.setGpr32(RCX, result.ecx);
  cpu.setGpr32(RDX, result.edx);
  return Outcome.NEXT;
}

function giveTsc(cpu: Vcpu): void {
  readTsc(cpu);
  cpu.setGpr32(RAX, cpu.lo);
  cpu.setGpr32(RDX, cpu.hi);
}

/** Reads the time-stamp counter; CR4.TSD reserves it to level 0. */
export function RDTSC(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & CR4_TSD) !== 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('RDTSC', insn.length)) return Outcome.JUMPED;
  giveTsc(cpu);
  return Outcome.NEXT;
}

/** Reads the time-stamp counter and IA32_TSC_AUX. */
export function RDTSCP(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & CR4_TSD) !== 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('RDTSCP', insn.length)) return Outcome.JUMPED;
  giveTsc(cpu);
  cpu.setGpr32(RCX, cpu.w[TSC_AUX]!);
  return Outcome.NEXT;
}

/** Reads IA32_TSC_AUX. */
export function RDPID(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  cpu.setGpr32(insn.rm, cpu.w[TSC_AUX]!);
  return Outcome.NEXT;
}

/** Performance counters are not offered: every index is out of range. */
export function RDPMC(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & CR4_PCE) === 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('RDPMC', insn.length)) return Outcome.JUMPED;
  return cpu.raise(Vector.GP, 0);
}

/** A random number; CF says that there was one. */
function random(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const at = GPR + 2 * insn.rm;
  const lo = cpu.random.next();
  if (insn.operandSize === 16) w[at] = (w[at]! & ~0xffff) | (lo & 0xffff);
  else {
    w[at] = lo;
    w[at + 1] = insn.operandSize === 64 ? cpu.random.next() : 0;
  }
  cpu.writeArithmeticFlags(1);
  return Outcome.NEXT;
}

export function RDRAND(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('RDRAND', insn.length)) return Outcome.JUMPED;
  return random(cpu, insn);
}

export function RDSEED(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('RDSEED', insn.length)) return Outcome.JUMPED;
  return random(cpu, insn);
}
