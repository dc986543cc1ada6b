import type { Instruction } from '@nestvm/decoder';
import { Cr4, Efer, Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import { keepUserPointer } from '../cet/frames.js';
import { awaitEndbranch, hasShadowStack } from '../cet/state.js';
import { isCanonical, updateMode } from '../mode.js';
import { Outcome } from '../outcome.js';
import { Attribute, setFlatSegment } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, CSTAR, EFER, FMASK, GPR, LSTAR, MODE, PL_SSP, RFLAGS, RIP, SEG_ATTRIBUTES, SEG_SELECTOR, SSP, STAR, word } from '../words.js';

const RCX = GPR + 2;
const RDX = GPR + 4;
const RSP = GPR + 8;
const R11 = GPR + 22;
const SYSENTER_CS = word('sysenterCs');
const SYSENTER_ESP = word('sysenterEsp');
const SYSENTER_EIP = word('sysenterEip');

const CODE64 = 0xb | Attribute.S | Attribute.P | Attribute.L | Attribute.G;
const CODE32 = 0xb | Attribute.S | Attribute.P | Attribute.DB | Attribute.G;
const DATA = 0x3 | Attribute.S | Attribute.P | Attribute.DB | Attribute.G;
const DPL3 = 3 << 5;
// What SYSRET may load from R11: all defined flags but RF and VM (SDM Vol. 2, SYSRET).
const SYSRET_FLAGS = 0x3c7fd7;

/** Loads flat CS and SS of a privilege level. */
function setCodeAndStack(cpu: Vcpu, cs: number, ss: number, cpl: number, code: number): void {
  const dpl = cpl === 3 ? DPL3 : 0;
  setFlatSegment(cpu, Segment.CS, cs, code | dpl);
  setFlatSegment(cpu, Segment.SS, ss, DATA | dpl);
  cpu.w[CPL] = cpl;
}

/** What a fast call does to the shadow stack and the tracker, before CPL and the mode change. */
function enterFast(cpu: Vcpu): void {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.CET) === 0) return;
  if ((w[MODE]! & Mode.SHADOW_STACK) !== 0) keepUserPointer(cpu);
  if (hasShadowStack(cpu, 0)) {
    w[SSP] = 0;
    w[SSP + 1] = 0;
  }
  awaitEndbranch(cpu, 0);
}

/** The user's shadow stack is in force again. */
function leaveFast(cpu: Vcpu): void {
  const w = cpu.w;
  if (!hasShadowStack(cpu, 3)) return;
  w[SSP] = w[PL_SSP + 6]!;
  w[SSP + 1] = w[PL_SSP + 7]!;
}

/** SYSCALL in legacy mode, which only AMD has: EIP from STAR[31:0]. */
function legacySyscall(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  w[RCX] = (w[RIP]! + insn.length) | 0;
  w[RCX + 1] = 0;
  w[RIP] = w[STAR]!;
  w[RIP + 1] = 0;
  const selector = w[STAR + 1]! & 0xfffc;
  enterFast(cpu);
  setCodeAndStack(cpu, selector, (selector + 8) & 0xffff, 0, CODE32);
  w[RFLAGS] = w[RFLAGS]! & ~(Rflags.IF | Rflags.VM | Rflags.RF);
  updateMode(cpu);
  return Outcome.JUMPED;
}

/** Fast call to level 0 (SDM Vol. 2, SYSCALL; APM Vol. 3 for its legacy- and compatibility-mode forms). */
export function SYSCALL(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const mode = w[MODE]!;
  if ((w[EFER]! & Efer.SCE) === 0 || (mode & (Mode.PROTECTED | Mode.V8086)) === 0) return cpu.raise(Vector.UD);
  const long = (mode & Mode.LONG) !== 0;
  if (!long && cpu.features.intel) return cpu.raise(Vector.UD);
  if ((mode & Mode.IA32E) === 0) return legacySyscall(cpu, insn);
  const flags = cpu.readRflags() & ~Rflags.RF;
  const next = (w[RIP]! + insn.length) | 0;
  w[RCX] = next;
  w[RCX + 1] = long ? (w[RIP + 1]! + (next >>> 0 < insn.length ? 1 : 0)) | 0 : 0;
  w[R11] = flags;
  w[R11 + 1] = 0;
  const target = long ? LSTAR : CSTAR;
  w[RIP] = w[target]!;
  w[RIP + 1] = w[target + 1]!;
  cpu.writeRflags(flags & ~w[FMASK]! & ~Rflags.RF);
  // The trap flag that counts for the single-step trap is the masked one.
  if ((w[RFLAGS]! & Rflags.TF) === 0) cpu.trapFlag = 0;
  const selector = w[STAR + 1]! & 0xfffc;
  enterFast(cpu);
  setCodeAndStack(cpu, selector, (selector + 8) & 0xffff, 0, CODE64);
  updateMode(cpu);
  return Outcome.JUMPED;
}

/** Return from a fast call (SDM Vol. 2, SYSRET). On Intel a non-canonical RCX faults before the switch to level 3. */
export function SYSRET(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const mode = w[MODE]!;
  if ((w[EFER]! & Efer.SCE) === 0 || (cpu.features.intel && (mode & Mode.LONG) === 0)) return cpu.raise(Vector.UD);
  if (w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  const to64 = insn.operandSize === 64;
  if (to64 && !isCanonical(cpu, w[RCX + 1]!)) return cpu.raise(Vector.GP, 0);
  const star = w[STAR + 1]! >>> 16;
  w[RIP] = w[RCX]!;
  w[RIP + 1] = to64 ? w[RCX + 1]! : 0;
  if ((mode & Mode.IA32E) !== 0) cpu.writeRflags(w[R11]! & SYSRET_FLAGS);
  else w[RFLAGS] = w[RFLAGS]! | Rflags.IF;
  const cs = ((to64 ? star + 16 : star) | 3) & 0xffff;
  const ss = ((star + 8) | 3) & 0xffff;
  if (cpu.features.intel) {
    setCodeAndStack(cpu, cs, ss, 3, to64 ? CODE64 : CODE32);
  } else {
    // AMD leaves base, limit and attributes of SS as they are.
    setFlatSegment(cpu, Segment.CS, cs, (to64 ? CODE64 : CODE32) | DPL3);
    cpu.h[SEG_SELECTOR + Segment.SS] = ss;
    w[SEG_ATTRIBUTES + Segment.SS] = (w[SEG_ATTRIBUTES + Segment.SS]! & ~Attribute.DPL) | DPL3;
    w[CPL] = 3;
  }
  leaveFast(cpu);
  updateMode(cpu);
  cpu.attention = 1;
  return Outcome.JUMPED;
}

/** Fast call to level 0 through the SYSENTER MSRs (SDM Vol. 2, SYSENTER); not in IA-32e mode on AMD. */
export function SYSENTER(cpu: Vcpu): Outcome {
  const w = cpu.w;
  const mode = w[MODE]!;
  if ((mode & (Mode.PROTECTED | Mode.V8086)) === 0) return cpu.raise(Vector.GP, 0);
  const ia32e = (mode & Mode.IA32E) !== 0;
  if (ia32e && !cpu.features.intel) return cpu.raise(Vector.UD);
  const selector = w[SYSENTER_CS]! & 0xfffc;
  if (selector === 0) return cpu.raise(Vector.GP, 0);
  w[RFLAGS] = w[RFLAGS]! & ~(Rflags.VM | Rflags.IF | Rflags.RF);
  w[RSP] = w[SYSENTER_ESP]!;
  w[RSP + 1] = ia32e ? w[SYSENTER_ESP + 1]! : 0;
  w[RIP] = w[SYSENTER_EIP]!;
  w[RIP + 1] = ia32e ? w[SYSENTER_EIP + 1]! : 0;
  enterFast(cpu);
  setCodeAndStack(cpu, selector, (selector + 8) & 0xffff, 0, ia32e ? CODE64 : CODE32);
  updateMode(cpu);
  return Outcome.JUMPED;
}

/** Return from SYSENTER: RIP from RDX, RSP from RCX (SDM Vol. 2, SYSEXIT). */
export function SYSEXIT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  if ((w[MODE]! & Mode.IA32E) !== 0 && !cpu.features.intel) return cpu.raise(Vector.UD);
  const selector = w[SYSENTER_CS]! & 0xffff;
  if ((selector & 0xfffc) === 0 || w[CPL] !== 0 || (w[MODE]! & Mode.PROTECTED) === 0) return cpu.raise(Vector.GP, 0);
  const to64 = insn.operandSize === 64;
  if (to64 && (!isCanonical(cpu, w[RDX + 1]!) || !isCanonical(cpu, w[RCX + 1]!))) return cpu.raise(Vector.GP, 0);
  w[RSP] = w[RCX]!;
  w[RSP + 1] = to64 ? w[RCX + 1]! : 0;
  w[RIP] = w[RDX]!;
  w[RIP + 1] = to64 ? w[RDX + 1]! : 0;
  const cs = (selector & 0xfffc) + (to64 ? 32 : 16);
  setCodeAndStack(cpu, (cs | 3) & 0xffff, ((cs + 8) | 3) & 0xffff, 3, to64 ? CODE64 : CODE32);
  leaveFast(cpu);
  updateMode(cpu);
  return Outcome.JUMPED;
}
