import type { Instruction } from '@nestvm/decoder';
import { Cr0, Cr4, Efer, Mode, Segment, Vector } from '@nestvm/isa';
import { updateMode } from '../mode.js';
import { readRm, writeGpr, writeRm } from '../operands.js';
import { Outcome } from '../outcome.js';
import { Attribute } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR0, CR2, CR3, CR4, CR8, EFER, GPR, GUEST_MODE, MODE, SEG_ATTRIBUTES } from '../words.js';
import { faultsComeFirst } from './intercept-order.js';

const CR0_WRITABLE = Cr0.PE | Cr0.MP | Cr0.EM | Cr0.TS | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.NW | Cr0.CD | Cr0.PG;
const CR4_RELOADS_PDPTES = Cr4.PAE | Cr4.PSE | Cr4.PGE | Cr4.SMEP;

/** True when CR0 may get this value now (SDM Vol. 2, MOV—Move to/from Control Registers). */
function isCr0Allowed(cpu: Vcpu, value: number): boolean {
  const w = cpu.w;
  const old = w[CR0]!;
  if ((value & Cr0.PG) !== 0 && (value & Cr0.PE) === 0) return false;
  if ((value & Cr0.NW) !== 0 && (value & Cr0.CD) === 0) return false;
  if ((w[CR4]! & Cr4.CET) !== 0 && (value & Cr0.WP) === 0) return false;
  const turnsOn = (value & ~old & Cr0.PG) !== 0;
  if (turnsOn && (w[EFER]! & Efer.LME) !== 0) {
    if ((w[CR4]! & Cr4.PAE) === 0 || (w[SEG_ATTRIBUTES + Segment.CS]! & Attribute.L) !== 0) return false;
  }
  const turnsOff = (old & ~value & Cr0.PG) !== 0;
  if (turnsOff && ((w[MODE]! & Mode.LONG) !== 0 || (w[CR4]! & Cr4.PCIDE) !== 0)) return false;
  return cpu.controlGuard === null || cpu.controlGuard(0, value);
}

/** Writes CR0 with all checks and consequences: LMA, PDPTEs, mode. False: not allowed, #GP(0). */
function writeCr0(cpu: Vcpu, raw: number): boolean {
  const w = cpu.w;
  const old = w[CR0]!;
  const value = (raw & CR0_WRITABLE) | Cr0.ET;
  if (!isCr0Allowed(cpu, value)) return false;
  const efer = w[EFER]!;
  const paging = (value & Cr0.PG) !== 0;
  const long = paging && (efer & Efer.LME) !== 0;
  const reloads = ((old ^ value) & (Cr0.PG | Cr0.CD | Cr0.NW)) !== 0;
  if (paging && !long && (w[CR4]! & Cr4.PAE) !== 0 && reloads && !cpu.mmu.loadPdptes()) return false;
  w[CR0] = value;
  w[EFER] = long ? efer | Efer.LMA : efer & ~Efer.LMA;
  if ((value & Cr0.PE) === 0) w[CPL] = 0;
  updateMode(cpu);
  return true;
}

/** True when CR4 may get this value now. */
function isCr4Allowed(cpu: Vcpu, value: number): boolean {
  const w = cpu.w;
  const old = w[CR4]!;
  if ((value & ~cpu.features.cr4) !== 0) return false;
  const ia32e = (w[EFER]! & Efer.LMA) !== 0;
  if (ia32e && ((value & Cr4.PAE) === 0 || ((old ^ value) & Cr4.LA57) !== 0)) return false;
  if ((value & ~old & Cr4.PCIDE) !== 0 && (!ia32e || (w[CR3]! & 0xfff) !== 0)) return false;
  if ((value & Cr4.CET) !== 0 && (w[CR0]! & Cr0.WP) === 0) return false;
  return cpu.controlGuard === null || cpu.controlGuard(4, value);
}

/** Writes CR4 with all checks and consequences. False: not allowed, #GP(0). */
function writeCr4(cpu: Vcpu, value: number): boolean {
  const w = cpu.w;
  if (!isCr4Allowed(cpu, value)) return false;
  const changed = w[CR4]! ^ value;
  const pae = (w[EFER]! & Efer.LMA) === 0 && (value & Cr4.PAE) !== 0 && (w[CR0]! & Cr0.PG) !== 0;
  if (pae && (changed & CR4_RELOADS_PDPTES) !== 0 && !cpu.mmu.loadPdptes()) return false;
  w[CR4] = value;
  updateMode(cpu);
  return true;
}

function writeCr8(cpu: Vcpu, lo: number, hi: number): boolean {
  if (hi !== 0 || (lo & ~15) !== 0) return false;
  if (cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.writeVirtualTpr?.(cpu, lo) === true) return true;
  cpu.w[CR8] = lo;
  cpu.interrupts.writeTpr(lo);
  cpu.attention = 1;
  return true;
}

/** A write to CR0 or CR4 with the bits that a hypervisor owns kept. */
function merged(cpu: Vcpu, register: 0 | 4, value: number): number {
  if (cpu.w[GUEST_MODE] === 0) return value;
  return cpu.virtualization?.mergedControl?.(cpu, register, value) ?? value;
}

/** What the program sees of CR0 or CR4, into `cpu.lo`/`cpu.hi`. */
function readVisible(cpu: Vcpu, register: 0 | 4): void {
  const at = register === 0 ? CR0 : CR4;
  cpu.lo = cpu.w[at]!;
  cpu.hi = cpu.w[at + 1]!;
  if (cpu.w[GUEST_MODE] !== 0) cpu.virtualization?.visibleControl?.(cpu, register);
}

function writeControl(cpu: Vcpu, register: number, lo: number, hi: number): boolean {
  const w = cpu.w;
  switch (register) {
    case 0:
      return hi === 0 && writeCr0(cpu, merged(cpu, 0, lo));
    case 2:
      w[CR2] = lo;
      w[CR2 + 1] = hi;
      return true;
    case 3:
      return cpu.mmu.writeCr3(lo, hi);
    case 4:
      return hi === 0 && writeCr4(cpu, merged(cpu, 4, lo));
    default:
      return writeCr8(cpu, lo, hi);
  }
}

/** Whether a write of a control register passes the checks that look at nothing but the value and the processor: PDPTEs are not read. */
function isControlAllowed(cpu: Vcpu, register: number, lo: number, hi: number): boolean {
  switch (register) {
    case 0:
      return hi === 0 && isCr0Allowed(cpu, (lo & CR0_WRITABLE) | Cr0.ET);
    case 3:
      return cpu.mmu.isCr3Allowed(hi);
    case 4:
      return hi === 0 && isCr4Allowed(cpu, lo);
    case 8:
      return hi === 0 && (lo & ~15) === 0;
    default:
      return true;
  }
}

const CONTROL_WORDS: Readonly<Record<number, number>> = { 0: CR0, 2: CR2, 3: CR3, 4: CR4, 8: CR8 };

function readCr8(cpu: Vcpu): number {
  const own = cpu.w[GUEST_MODE] !== 0 ? (cpu.virtualization?.readVirtualTpr?.(cpu) ?? -1) : -1;
  return own >= 0 ? own : cpu.interrupts.readTpr();
}

/** Reads CR0, CR2, CR3, CR4 or CR8 into `cpu.lo`/`cpu.hi`; false when there is no such register. */
function readControl(cpu: Vcpu, register: number): boolean {
  const at = CONTROL_WORDS[register];
  if (at === undefined) return false;
  if (register === 0 || register === 4) {
    readVisible(cpu, register);
    return true;
  }
  cpu.lo = register === 8 ? readCr8(cpu) : cpu.w[at]!;
  cpu.hi = cpu.w[at + 1]!;
  return true;
}

/** Moves to and from control registers. */
export function MOV_CR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const register = insn.reg;
  const long = (w[MODE]! & Mode.LONG) !== 0;
  if (CONTROL_WORDS[register] === undefined || (register === 8 && !long)) return cpu.raise(Vector.UD);
  const write = insn.row.operands[0]!.method === 'C';
  const at = GPR + 2 * insn.rm;
  const hi = long ? w[at + 1]! : 0;
  if (write && faultsComeFirst(cpu) && !isControlAllowed(cpu, register, w[at]!, hi)) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted(write ? 'CR_WRITE' : 'CR_READ', insn.length, register, write, insn.rm)) return Outcome.JUMPED;
  if (write) return writeControl(cpu, register, w[at]!, hi) ? Outcome.NEXT : cpu.raise(Vector.GP, 0);
  readControl(cpu, register);
  writeGpr(cpu, insn.rm, long ? 64 : 32, cpu.lo, cpu.hi);
  return Outcome.NEXT;
}

/** Clears CR0.TS. */
export function CLTS(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('CLTS', insn.length)) return Outcome.JUMPED;
  cpu.w[CR0] = cpu.w[CR0]! & ~Cr0.TS;
  updateMode(cpu);
  return Outcome.NEXT;
}

/** Loads CR0 bits 3:0; PE can be set but not cleared. */
export function LMSW(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  // SVM's intercepts, which do not look at the value, come before faults of its memory; VMX's look at it.
  const early = faultsComeFirst(cpu);
  if (early && cpu.intercepted('LMSW', insn.length)) return Outcome.JUMPED;
  if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
  const source = cpu.lo;
  if (!early && cpu.intercepted('LMSW', insn.length, source)) return Outcome.JUMPED;
  const old = cpu.w[CR0]!;
  const value = (old & ~0xe) | (source & 0xf);
  return writeCr0(cpu, merged(cpu, 0, value)) ? Outcome.NEXT : cpu.raise(Vector.GP, 0);
}

/** True when CR4.UMIP forbids the instruction here; #GP(0) has been recorded then. */
export function umipForbids(cpu: Vcpu): boolean {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.UMIP) === 0 || w[CPL] === 0) return false;
  cpu.raise(Vector.GP, 0);
  return true;
}

/** Stores the machine status word: CR0 bits 15:0 to memory, the whole register to a register. */
export function SMSW(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (umipForbids(cpu)) return Outcome.FAULT;
  if (cpu.intercepted('SMSW', insn.length)) return Outcome.JUMPED;
  const bits = insn.mod === 3 ? insn.operandSize : 16;
  readVisible(cpu, 0);
  return writeRm(cpu, insn, bits, cpu.lo, cpu.hi) ? Outcome.NEXT : Outcome.FAULT;
}
