import { Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import { type Instruction, Prefix } from '@nestvm/decoder';
import { iopl, segmentAddress } from '../address.js';
import { notePortAccess } from '../events/debug.js';
import { readLinear, writeLinear } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, GPR, MODE, RFLAGS, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT } from '../words.js';

const RCX = 1;
const RSI = 6;
const RDI = 7;
const IO_MAP_BASE = 0x66;
type PortWidth = 1 | 2 | 4;

/** The I/O permission bitmap of the TSS (SDM Vol. 1, "I/O Permission Bit Map"); false with a fault recorded. */
function bitmapAllows(cpu: Vcpu, port: number, bytes: number): boolean {
  const { w, tables } = cpu;
  const rights = w[SEG_ATTRIBUTES + Segment.TR]!;
  const limit = w[SEG_LIMIT + Segment.TR]! >>> 0;
  const is32 = (rights & 0x8d) === 0x89;
  if (!is32 || limit < IO_MAP_BASE + 1) return cpu.fail(Vector.GP, 0);
  const base = w[SEG_BASE + 2 * Segment.TR]!;
  const high = w[SEG_BASE + 2 * Segment.TR + 1]!;
  const at = (offset: number): number => (base + offset) | 0;
  const carry = (offset: number): number => (high + (at(offset) >>> 0 < base >>> 0 ? 1 : 0)) | 0;
  const map = tables.read16(at(IO_MAP_BASE), carry(IO_MAP_BASE), false);
  if (map < 0) return false;
  const offset = map + (port >>> 3);
  if (offset + 1 > limit) return cpu.fail(Vector.GP, 0);
  const bits = tables.read16(at(offset), carry(offset), false);
  if (bits < 0) return false;
  return ((bits >>> (port & 7)) & ((1 << bytes) - 1)) === 0 ? true : cpu.fail(Vector.GP, 0);
}

function allowed(cpu: Vcpu, port: number, bytes: number): boolean {
  const { w } = cpu;
  const mode = w[MODE]!;
  if ((mode & (Mode.PROTECTED | Mode.V8086)) === 0) return true;
  if ((mode & Mode.V8086) === 0 && w[CPL]! <= iopl(w[RFLAGS]!)) return true;
  return bitmapAllows(cpu, port, bytes);
}

/** Width of the data operand: a byte form by its operand, else 16 or 32 bits. */
function widthOf(insn: Readonly<Instruction>): PortWidth {
  const byte = insn.row.operands.some((o) => o.method === 'AL' || ((o.method === 'X' || o.method === 'Y') && o.type === 'b'));
  return byte ? 1 : insn.operandSize === 16 ? 2 : 4;
}

const portOf = (cpu: Vcpu, insn: Readonly<Instruction>): number =>
  insn.row.operands.some((o) => o.method === 'DX') ? cpu.w[GPR + 4]! & 0xffff : insn.immediate & 0xff;

/** Input from a port. */
export function IN(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const bytes = widthOf(insn);
  const port = portOf(cpu, insn);
  if (!allowed(cpu, port, bytes)) return Outcome.FAULT;
  if (cpu.intercepted('IN', insn.length, port, false, bytes)) return Outcome.JUMPED;
  const value = cpu.ports.read(port, bytes);
  notePortAccess(cpu, port, bytes);
  if (bytes === 4) cpu.setGpr32(0, value);
  else w[GPR] = bytes === 1 ? (w[GPR]! & ~0xff) | (value & 0xff) : (w[GPR]! & ~0xffff) | (value & 0xffff);
  return Outcome.NEXT;
}

/** Output to a port. */
export function OUT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const bytes = widthOf(insn);
  const port = portOf(cpu, insn);
  if (!allowed(cpu, port, bytes)) return Outcome.FAULT;
  if (cpu.intercepted('OUT', insn.length, port, true, bytes)) return Outcome.JUMPED;
  const value = cpu.w[GPR]!;
  cpu.ports.write(port, bytes, bytes === 4 ? value >>> 0 : value & (bytes === 1 ? 0xff : 0xffff));
  notePortAccess(cpu, port, bytes);
  return Outcome.NEXT;
}

const isRepeated = (insn: Readonly<Instruction>): boolean => (insn.prefixes & (Prefix.REP | Prefix.REPNE)) !== 0;

/** True when a repeated instruction has no turns left. */
function countIsZero(cpu: Vcpu, insn: Readonly<Instruction>): boolean {
  const lo = cpu.w[GPR + 2 * RCX]!;
  if (insn.addressSize === 16) return (lo & 0xffff) === 0;
  return lo === 0 && (insn.addressSize === 32 || cpu.w[GPR + 2 * RCX + 1] === 0);
}

/** Adds to a register at the address size. */
function addTo(cpu: Vcpu, register: number, delta: number, addressSize: number): void {
  const { w } = cpu;
  const at = GPR + 2 * register;
  const lo = w[at]!;
  const sum = (lo + delta) | 0;
  if (addressSize === 16) w[at] = (lo & ~0xffff) | (sum & 0xffff);
  else {
    w[at] = sum;
    if (addressSize === 32) w[at + 1] = 0;
    else if (delta > 0) w[at + 1] = w[at + 1]! + (sum >>> 0 < lo >>> 0 ? 1 : 0);
    else w[at + 1] = w[at + 1]! - (sum >>> 0 > lo >>> 0 ? 1 : 0);
  }
}

/** One element between a port and memory; REP asks to be run again until the count is used up. */
function stringPort(cpu: Vcpu, insn: Readonly<Instruction>, input: boolean): Outcome {
  const { w } = cpu;
  const bytes = widthOf(insn);
  const port = w[GPR + 4]! & 0xffff;
  const repeated = isRepeated(insn);
  if (repeated && countIsZero(cpu, insn)) return Outcome.NEXT;
  if (!allowed(cpu, port, bytes)) return Outcome.FAULT;
  if (cpu.intercepted(input ? 'INS' : 'OUTS', insn.length, port, !input, bytes)) return Outcome.JUMPED;
  const register = input ? RDI : RSI;
  const mask = insn.addressSize === 16 ? 0xffff : -1;
  const lo = w[GPR + 2 * register]! & mask;
  const hi = insn.addressSize === 64 ? w[GPR + 2 * register + 1]! : 0;
  if (!segmentAddress(cpu, input ? Segment.ES : insn.segment, lo, hi, bytes, input)) return Outcome.FAULT;
  const [atLo, atHi] = [cpu.lo, cpu.hi];
  if (input) {
    // The element must be writable before the device is asked.
    if (!writeLinear(cpu, atLo, atHi, 8 * bytes, 0, 0)) return Outcome.FAULT;
    writeLinear(cpu, atLo, atHi, 8 * bytes, cpu.ports.read(port, bytes) | 0, 0);
  } else {
    if (!readLinear(cpu, atLo, atHi, 8 * bytes)) return Outcome.FAULT;
    cpu.ports.write(port, bytes, bytes === 4 ? cpu.lo >>> 0 : cpu.lo);
  }
  notePortAccess(cpu, port, bytes);
  addTo(cpu, register, (w[RFLAGS]! & Rflags.DF) !== 0 ? -bytes : bytes, insn.addressSize);
  if (!repeated) return Outcome.NEXT;
  addTo(cpu, RCX, -1, insn.addressSize);
  return countIsZero(cpu, insn) ? Outcome.NEXT : Outcome.REPEAT;
}

/** Input from a port to memory. */
export const INS = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => stringPort(cpu, insn, true);
/** Output from memory to a port. */
export const OUTS = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => stringPort(cpu, insn, false);
