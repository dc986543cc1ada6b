import type { Instruction } from '@nestvm/decoder';
import { Cr4, Mode, Segment, Vector } from '@nestvm/isa';
import { FIRST_FIXED, FIXED_COUNTERS, GENERAL_COUNTERS } from '../counters/counters.js';
import { generalCounters } from '../counters/msrs.js';
import { isCanonical } from '../mode.js';
import { readHostTsc, readTsc } from '../msr/time.js';
import { writeGpr } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, KERNEL_GS_BASE, MODE, SEG_BASE, TSC_AUX } from '../words.js';
import { faultsComeFirst } from './intercept-order.js';

const RAX = GPR;
const RCX = GPR + 2;
const RDX = GPR + 4;
const FS_BASE = SEG_BASE + 2 * Segment.FS;
const GS_BASE = SEG_BASE + 2 * Segment.GS;

/** Puts `cpu.lo` into EAX and `cpu.hi` into EDX, zero-extended. */
function toEdxEax(cpu: Vcpu): void {
  const w = cpu.w;
  w[RAX] = cpu.lo;
  w[RAX + 1] = 0;
  w[RDX] = cpu.hi;
  w[RDX + 1] = 0;
}

/** Reads the MSR that ECX names into EDX:EAX. */
export function RDMSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const index = cpu.w[RCX]! >>> 0;
  if (cpu.intercepted('RDMSR', insn.length, index)) return Outcome.JUMPED;
  if (!cpu.msrs.read(index)) return cpu.raise(Vector.GP, 0);
  toEdxEax(cpu);
  return Outcome.NEXT;
}

/** Writes EDX:EAX to the MSR that ECX names. */
export function WRMSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const index = w[RCX]! >>> 0;
  if (cpu.intercepted('WRMSR', insn.length, index, true)) return Outcome.JUMPED;
  return cpu.msrs.write(index, w[RAX]!, w[RDX]!) ? Outcome.NEXT : cpu.raise(Vector.GP, 0);
}

/** Time-stamp counter to EDX:EAX; CR4.TSD reserves it for level 0. */
export function RDTSC(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & Cr4.TSD) !== 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('RDTSC', insn.length)) return Outcome.JUMPED;
  readTsc(cpu);
  toEdxEax(cpu);
  return Outcome.NEXT;
}

/** RDTSC, with IA32_TSC_AUX in ECX. */
export function RDTSCP(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & Cr4.TSD) !== 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('RDTSCP', insn.length)) return Outcome.JUMPED;
  readTsc(cpu);
  toEdxEax(cpu);
  cpu.w[RCX] = cpu.w[TSC_AUX]!;
  cpu.w[RCX + 1] = 0;
  return Outcome.NEXT;
}

/** IA32_TSC_AUX to a register. */
export function RDPID(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  writeGpr(cpu, insn.rm, (cpu.w[MODE]! & Mode.LONG) !== 0 ? 64 : 32, cpu.w[TSC_AUX]!, 0);
  return Outcome.NEXT;
}

const FIXED_INDEX = 1 << 30;

/** The counter that RDPMC's ECX names; -1 when there is none. */
function counterOf(cpu: Vcpu, index: number): number {
  if (!cpu.features.intel) return index >>> 0 < generalCounters(cpu) ? index : -1;
  if (!cpu.features.has('pmu')) return -1;
  if ((index & FIXED_INDEX) === 0) return index >>> 0 < GENERAL_COUNTERS ? index : -1;
  const fixed = (index & ~FIXED_INDEX) >>> 0;
  return fixed < FIXED_COUNTERS ? FIRST_FIXED + fixed : -1;
}

/** A performance counter to EDX:EAX; CR4.PCE opens them to levels above 0. */
export function RDPMC(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & Cr4.PCE) === 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  const counter = counterOf(cpu, cpu.w[RCX]!);
  if (counter < 0 && faultsComeFirst(cpu)) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('RDPMC', insn.length, cpu.w[RCX]! >>> 0)) return Outcome.JUMPED;
  if (counter < 0) return cpu.raise(Vector.GP, 0);
  cpu.counters.read(counter);
  toEdxEax(cpu);
  return Outcome.NEXT;
}

/** MPERF and APERF for user programs, unless CR4.TSD makes it #UD for them (APM Vol. 3, RDPRU): the same count, which no offset of a hypervisor moves. Registers that are none read as 0. */
export function RDPRU(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((cpu.w[CR4]! & Cr4.TSD) !== 0 && cpu.w[CPL] !== 0) return cpu.raise(Vector.UD);
  if (cpu.intercepted('RDPRU', insn.length)) return Outcome.JUMPED;
  cpu.lo = 0;
  cpu.hi = 0;
  if (cpu.w[RCX]! >>> 0 <= 1) readHostTsc(cpu);
  toEdxEax(cpu);
  return Outcome.NEXT;
}

/** Exchanges the GS base with IA32_KERNEL_GS_BASE. */
export function SWAPGS(cpu: Vcpu): Outcome {
  const w = cpu.w;
  const lo = w[GS_BASE]!;
  const hi = w[GS_BASE + 1]!;
  w[GS_BASE] = w[KERNEL_GS_BASE]!;
  w[GS_BASE + 1] = w[KERNEL_GS_BASE + 1]!;
  w[KERNEL_GS_BASE] = lo;
  w[KERNEL_GS_BASE + 1] = hi;
  return Outcome.NEXT;
}

function readBase(cpu: Vcpu, insn: Readonly<Instruction>, at: number): Outcome {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.FSGSBASE) === 0) return cpu.raise(Vector.UD);
  writeGpr(cpu, insn.rm, insn.operandSize === 64 ? 64 : 32, w[at]!, w[at + 1]!);
  return Outcome.NEXT;
}

function writeBase(cpu: Vcpu, insn: Readonly<Instruction>, at: number): Outcome {
  const w = cpu.w;
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
