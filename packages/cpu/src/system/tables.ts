import type { Instruction } from '@nestvm/decoder';
import { Mode, Segment, Vector } from '@nestvm/isa';
import { isAligned, operandAddress } from '../address.js';
import { isCanonical } from '../mode.js';
import { readRm, writeRm } from '../operands.js';
import { Outcome } from '../outcome.js';
import { fetchDescriptor, fetchUpperHalf, isNullSelector, SystemType, setNullSegment, setSegment, writeAccessByte } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, GDTR_BASE, GDTR_LIMIT, IDTR_BASE, IDTR_LIMIT, MODE, SEG_SELECTOR } from '../words.js';
import { umipForbids } from './control.js';

/** Loads GDTR or IDTR from a pseudo-descriptor: 16-bit limit, then 24, 32 or 64 bits of base. */
function loadTableRegister(cpu: Vcpu, insn: Readonly<Instruction>, base: number, limit: number): Outcome {
  const { w, linear } = cpu;
  const long = (w[MODE]! & Mode.LONG) !== 0;
  if (!operandAddress(cpu, insn, long ? 10 : 6, false)) return Outcome.FAULT;
  const lo = cpu.lo;
  const hi = cpu.hi;
  const newLimit = linear.read16(lo, hi, w[CPL] === 3);
  if (newLimit < 0) return Outcome.FAULT;
  const at = (lo + 2) | 0;
  const atHi = long ? (hi + (at >>> 0 < 2 ? 1 : 0)) | 0 : 0;
  let baseHi = 0;
  let baseLo: number;
  if (long) {
    if (!linear.read64(at, atHi, false)) return Outcome.FAULT;
    baseLo = linear.lo;
    baseHi = linear.hi;
    if (!isCanonical(cpu, baseHi)) return cpu.raise(Vector.GP, 0);
  } else {
    const value = linear.read32(at, atHi, false);
    if (value < 0) return Outcome.FAULT;
    baseLo = insn.operandSize === 16 ? value & 0xffffff : value | 0;
  }
  w[limit] = newLimit;
  w[base] = baseLo;
  w[base + 1] = baseHi;
  return Outcome.NEXT;
}

/** What a pseudo-descriptor wants at level 3 with alignment checks on. */
const TABLE_ALIGNMENT = 4;

function storeTableRegister(cpu: Vcpu, insn: Readonly<Instruction>, base: number, limit: number): Outcome {
  const { w, linear } = cpu;
  const long = (w[MODE]! & Mode.LONG) !== 0;
  if (!operandAddress(cpu, insn, long ? 10 : 6, true) || !isAligned(cpu, TABLE_ALIGNMENT)) return Outcome.FAULT;
  const user = w[CPL] === 3;
  const image = new Uint8Array(long ? 10 : 6);
  const view = new DataView(image.buffer);
  view.setUint16(0, w[limit]!, true);
  view.setInt32(2, w[base]!, true);
  if (long) view.setInt32(6, w[base + 1]!, true);
  return linear.writeBytes(cpu.lo, cpu.hi, image, user) ? Outcome.NEXT : Outcome.FAULT;
}

export function LGDT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('LGDT', insn.length)) return Outcome.JUMPED;
  return loadTableRegister(cpu, insn, GDTR_BASE, GDTR_LIMIT);
}

export function LIDT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('LIDT', insn.length)) return Outcome.JUMPED;
  return loadTableRegister(cpu, insn, IDTR_BASE, IDTR_LIMIT);
}

export function SGDT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (umipForbids(cpu)) return Outcome.FAULT;
  if (cpu.intercepted('SGDT', insn.length)) return Outcome.JUMPED;
  return storeTableRegister(cpu, insn, GDTR_BASE, GDTR_LIMIT);
}

export function SIDT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (umipForbids(cpu)) return Outcome.FAULT;
  if (cpu.intercepted('SIDT', insn.length)) return Outcome.JUMPED;
  return storeTableRegister(cpu, insn, IDTR_BASE, IDTR_LIMIT);
}

function storeSelector(cpu: Vcpu, insn: Readonly<Instruction>, segment: number): Outcome {
  const bits = insn.mod === 3 ? insn.operandSize : 16;
  return writeRm(cpu, insn, bits, cpu.h[SEG_SELECTOR + segment]!, 0) ? Outcome.NEXT : Outcome.FAULT;
}

export function SLDT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (umipForbids(cpu)) return Outcome.FAULT;
  if (cpu.intercepted('SLDT', insn.length)) return Outcome.JUMPED;
  return storeSelector(cpu, insn, Segment.LDTR);
}

export function STR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (umipForbids(cpu)) return Outcome.FAULT;
  if (cpu.intercepted('STR', insn.length)) return Outcome.JUMPED;
  return storeSelector(cpu, insn, Segment.TR);
}

/** In IA-32e mode LDT and TSS descriptors have 16 bytes, with the upper half of the base. */
function readSystemSegment(cpu: Vcpu, selector: number): boolean {
  if ((cpu.w[MODE]! & Mode.IA32E) === 0) return true;
  if (!fetchUpperHalf(cpu, selector, cpu.descriptor)) return false;
  return isCanonical(cpu, cpu.descriptor.upper) ? true : cpu.fail(Vector.GP, selector & 0xfffc);
}

export function LLDT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('LLDT', insn.length)) return Outcome.JUMPED;
  if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
  const selector = cpu.lo;
  if (isNullSelector(selector)) {
    setNullSegment(cpu, Segment.LDTR, selector);
    return Outcome.NEXT;
  }
  const descriptor = cpu.descriptor;
  if ((selector & 4) !== 0) return cpu.raise(Vector.GP, selector & 0xfffc);
  if (!fetchDescriptor(cpu, selector, descriptor)) return Outcome.FAULT;
  if (!descriptor.isSystem || descriptor.type !== SystemType.LDT) return cpu.raise(Vector.GP, selector & 0xfffc);
  if (!descriptor.present) return cpu.raise(Vector.NP, selector & 0xfffc);
  if (!readSystemSegment(cpu, selector)) return Outcome.FAULT;
  setSegment(cpu, Segment.LDTR, selector, descriptor);
  return Outcome.NEXT;
}

export function LTR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('LTR', insn.length)) return Outcome.JUMPED;
  if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
  const selector = cpu.lo;
  const descriptor = cpu.descriptor;
  if (isNullSelector(selector)) return cpu.raise(Vector.GP, 0);
  if ((selector & 4) !== 0) return cpu.raise(Vector.GP, selector & 0xfffc);
  if (!fetchDescriptor(cpu, selector, descriptor)) return Outcome.FAULT;
  const ia32e = (cpu.w[MODE]! & Mode.IA32E) !== 0;
  const available = descriptor.type === SystemType.TSS32 || (!ia32e && descriptor.type === SystemType.TSS16);
  if (!descriptor.isSystem || !available) return cpu.raise(Vector.GP, selector & 0xfffc);
  if (!descriptor.present) return cpu.raise(Vector.NP, selector & 0xfffc);
  const { addressLo, addressHi } = descriptor;
  if (!readSystemSegment(cpu, selector)) return Outcome.FAULT;
  descriptor.addressLo = addressLo;
  descriptor.addressHi = addressHi;
  if (!writeAccessByte(cpu, descriptor, ((descriptor.hi >>> 8) & 0xff) | 2)) return Outcome.FAULT;
  setSegment(cpu, Segment.TR, selector, descriptor);
  return Outcome.NEXT;
}
