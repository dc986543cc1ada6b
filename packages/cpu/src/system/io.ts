import { type Instruction, Prefix } from '@nestvm/decoder';
import { Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import { iopl, isAligned, segmentAddress } from '../address.js';
import { noteDataAccess, notePortAccess } from '../events/debug.js';
import { readLinear, writeLinear } from '../operands.js';
import { Outcome } from '../outcome.js';
import { Access } from '../ports/translation.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, GPR, MODE, RFLAGS, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT } from '../words.js';

const RAX = GPR;
const RCX = GPR + 2;
const RDX = GPR + 4;
const RSI = GPR + 12;
const RDI = GPR + 14;
const TR_BASE = SEG_BASE + 2 * Segment.TR;
// Elements of a REP string that move before events are looked at again.
const BATCH = 64;

type IoWidth = 1 | 2 | 4;

/** Asks the I/O permission bitmap of a 32- or 64-bit TSS (SDM Vol. 1, "I/O Permission Bit Map"). */
function bitmapAllows(cpu: Vcpu, port: number, width: IoWidth): boolean {
  const { w, tables } = cpu;
  const limit = w[SEG_LIMIT + Segment.TR]! >>> 0;
  // A 16-bit TSS has no bitmap.
  if ((w[SEG_ATTRIBUTES + Segment.TR]! & 8) === 0 || limit < 0x67) return cpu.fail(Vector.GP, 0);
  const at = (w[TR_BASE]! + 0x66) | 0;
  const start = tables.read16(at, (w[TR_BASE + 1]! + (at >>> 0 < 0x66 ? 1 : 0)) | 0, false);
  if (start < 0) return false;
  const offset = start + (port >>> 3);
  if (offset + 1 > limit) return cpu.fail(Vector.GP, 0);
  const byte = (w[TR_BASE]! + offset) | 0;
  const bits = tables.read16(byte, (w[TR_BASE + 1]! + (byte >>> 0 < offset ? 1 : 0)) | 0, false);
  if (bits < 0) return false;
  return ((bits >>> (port & 7)) & ((1 << width) - 1)) === 0 ? true : cpu.fail(Vector.GP, 0);
}

/** The privilege check of port I/O: IOPL in protected mode, the bitmap beyond it and in virtual-8086 mode. */
function mayAccess(cpu: Vcpu, port: number, width: IoWidth): boolean {
  const w = cpu.w;
  const mode = w[MODE]!;
  if ((mode & Mode.V8086) !== 0) return bitmapAllows(cpu, port, width);
  if ((mode & Mode.PROTECTED) !== 0 && w[CPL]! > iopl(w[RFLAGS]!)) return bitmapAllows(cpu, port, width);
  return true;
}

/** Width of the data operand: a byte form, else the operand size, at most 32 bits. */
function widthOf(insn: Readonly<Instruction>, operand: number): IoWidth {
  const spec = insn.row.operands[operand]!;
  if (spec.method === 'AL' || spec.type === 'b') return 1;
  return insn.operandSize === 16 ? 2 : 4;
}

const portOf = (cpu: Vcpu, insn: Readonly<Instruction>, operand: number): number =>
  insn.row.operands[operand]!.method === 'DX' ? cpu.w[RDX]! & 0xffff : insn.immediate & 0xff;

/** Reads a port; with breakpoints on ports noted. */
function input(cpu: Vcpu, port: number, width: IoWidth): number {
  notePortAccess(cpu, port, width);
  return cpu.ports.read(port, width);
}

function output(cpu: Vcpu, port: number, width: IoWidth, value: number): void {
  notePortAccess(cpu, port, width);
  cpu.ports.write(port, width, value);
  // What the device did may have raised an interrupt.
  cpu.attention = 1;
}

/** Input from a port to AL, AX or EAX. */
export function IN(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const width = widthOf(insn, 0);
  const port = portOf(cpu, insn, 1);
  if (!mayAccess(cpu, port, width)) return Outcome.FAULT;
  if (cpu.intercepted('IN', insn.length, port, false, width)) return Outcome.JUMPED;
  const value = input(cpu, port, width);
  if (width === 4) cpu.setGpr32(0, value);
  else if (width === 2) w[RAX] = (w[RAX]! & ~0xffff) | (value & 0xffff);
  else w[RAX] = (w[RAX]! & ~0xff) | (value & 0xff);
  return Outcome.NEXT;
}

/** Output of AL, AX or EAX to a port. */
export function OUT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const width = widthOf(insn, 1);
  const port = portOf(cpu, insn, 0);
  if (!mayAccess(cpu, port, width)) return Outcome.FAULT;
  if (cpu.intercepted('OUT', insn.length, port, true, width)) return Outcome.JUMPED;
  const value = cpu.w[RAX]! >>> 0;
  output(cpu, port, width, width === 4 ? value : width === 2 ? value & 0xffff : value & 0xff);
  return Outcome.NEXT;
}

const repeats = (insn: Readonly<Instruction>): boolean => (insn.prefixes & (Prefix.REP | Prefix.REPNE)) !== 0;

/** True when a counter register of the address size is zero. */
function countIsZero(cpu: Vcpu, addressSize: number): boolean {
  const w = cpu.w;
  if (addressSize === 64) return (w[RCX]! | w[RCX + 1]!) === 0;
  return addressSize === 32 ? w[RCX] === 0 : (w[RCX]! & 0xffff) === 0;
}

/** Adds to a register under the address size: 16 bits keep the upper part, 32 bits clear it. */
function advance(cpu: Vcpu, at: number, step: number, addressSize: number): void {
  const w = cpu.w;
  const old = w[at]!;
  const lo = (old + step) | 0;
  if (addressSize === 16) w[at] = (old & ~0xffff) | (lo & 0xffff);
  else {
    w[at] = lo;
    if (addressSize === 32) w[at + 1] = 0;
    else if (step < 0) w[at + 1] = (w[at + 1]! - (lo >>> 0 > old >>> 0 ? 1 : 0)) | 0;
    else w[at + 1] = (w[at + 1]! + (lo >>> 0 < old >>> 0 ? 1 : 0)) | 0;
  }
}

/** Address of a string element: offset in rSI or rDI, cut to the address size. */
function elementAddress(cpu: Vcpu, at: number, segment: number, insn: Readonly<Instruction>, width: number, write: boolean): boolean {
  const w = cpu.w;
  const lo = insn.addressSize === 16 ? w[at]! & 0xffff : w[at]!;
  return segmentAddress(cpu, segment, lo, insn.addressSize === 64 ? w[at + 1]! : 0, width, write) && isAligned(cpu, width);
}

function insElement(cpu: Vcpu, insn: Readonly<Instruction>, port: number, width: IoWidth, step: number): boolean {
  if (!elementAddress(cpu, RDI, Segment.ES, insn, width, true)) return false;
  const lo = cpu.lo;
  const hi = cpu.hi;
  // The port is read only when its value can be stored.
  if (!cpu.linear.probeRange(lo, hi, width, Access.WRITE, cpu.w[CPL] === 3)) return false;
  const value = input(cpu, port, width);
  if (!writeLinear(cpu, lo, hi, 8 * width, value | 0, 0)) return false;
  noteDataAccess(cpu, lo, hi, width, true);
  advance(cpu, RDI, step, insn.addressSize);
  return true;
}

function outsElement(cpu: Vcpu, insn: Readonly<Instruction>, port: number, width: IoWidth, step: number): boolean {
  if (!elementAddress(cpu, RSI, insn.segment, insn, width, false)) return false;
  const lo = cpu.lo;
  const hi = cpu.hi;
  if (!readLinear(cpu, lo, hi, 8 * width)) return false;
  output(cpu, port, width, cpu.lo >>> 0);
  noteDataAccess(cpu, lo, hi, width, false);
  advance(cpu, RSI, step, insn.addressSize);
  return true;
}

/** INS and OUTS: one element, or a batch of a REP string, which stays restartable between elements. */
function stringIo(cpu: Vcpu, insn: Readonly<Instruction>, write: boolean): Outcome {
  const w = cpu.w;
  const port = w[RDX]! & 0xffff;
  const width = widthOf(insn, write ? 1 : 0);
  const rep = repeats(insn);
  if (rep && countIsZero(cpu, insn.addressSize)) return Outcome.NEXT;
  if (!mayAccess(cpu, port, width)) return Outcome.FAULT;
  if (cpu.intercepted(write ? 'OUTS' : 'INS', insn.length, port, write, width)) return Outcome.JUMPED;
  const step = (w[RFLAGS]! & Rflags.DF) !== 0 ? -width : width;
  const element = write ? outsElement : insElement;
  if (!rep) return element(cpu, insn, port, width, step) ? Outcome.NEXT : Outcome.FAULT;
  // A single-step trap, or a breakpoint, is taken after each element.
  const most = cpu.trapFlag !== 0 ? 1 : BATCH;
  for (let i = 0; i < most; i++) {
    if (!element(cpu, insn, port, width, step)) return Outcome.FAULT;
    advance(cpu, RCX, -1, insn.addressSize);
    if (countIsZero(cpu, insn.addressSize)) return Outcome.NEXT;
    if (cpu.hasPendingDebug()) break;
  }
  return Outcome.REPEAT;
}

export const INS = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => stringIo(cpu, insn, false);
export const OUTS = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => stringIo(cpu, insn, true);
