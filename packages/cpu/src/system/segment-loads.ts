import type { Instruction } from '@nestvm/decoder';
import { Mode, Segment, Vector } from '@nestvm/isa';
import { isAligned, operandAddress } from '../address.js';
import { Shadow, updateMode } from '../mode.js';
import { isRegisterForm, readLinear, readRm, writeGpr, writeRm } from '../operands.js';
import { Outcome } from '../outcome.js';
import { probeDescriptor, SystemType } from '../segments/descriptor.js';
import { loadSegment } from '../segments/load.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, GPR, MODE, SEG_SELECTOR } from '../words.js';
import { beginShadow } from './flags.js';

const NUMBER: Readonly<Record<string, number>> = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 };

function load(cpu: Vcpu, segment: number, selector: number, shadow: boolean, before?: () => void): Outcome {
  if (!loadSegment(cpu, segment, selector)) return Outcome.FAULT;
  before?.();
  updateMode(cpu);
  // MOV and POP to SS hold interrupts off for one instruction; LSS needs no such help.
  if (segment === Segment.SS && shadow) beginShadow(cpu, Shadow.MOV_SS);
  return Outcome.NEXT;
}

/** MOV between a segment register and a general register or memory. */
export function MOV_SREG(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (insn.row.operands[0]?.method !== 'S') {
    if (insn.reg > Segment.GS) return cpu.raise(Vector.UD);
    const selector = cpu.h[SEG_SELECTOR + insn.reg]!;
    return writeRm(cpu, insn, isRegisterForm(insn) ? insn.operandSize : 16, selector, 0) ? Outcome.NEXT : Outcome.FAULT;
  }
  if (insn.reg === Segment.CS || insn.reg > Segment.GS) return cpu.raise(Vector.UD);
  if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
  return load(cpu, insn.reg, cpu.lo & 0xffff, true);
}

/** POP of a segment register: RSP moves only after the load succeeded. */
export function POP_SREG(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { stack } = cpu;
  stack.openCurrent();
  if (!stack.peek(0, 2)) return Outcome.FAULT;
  const selector = cpu.lo & 0xffff;
  stack.move(insn.operandSize >>> 3);
  return load(cpu, NUMBER[insn.row.operands[0]!.method]!, selector, true, () => stack.commit());
}

/** LES, LDS, LSS, LFS, LGS: a far pointer from memory to a segment and a general register. */
function loadFarPointer(segment: number): (cpu: Vcpu, insn: Readonly<Instruction>) => Outcome {
  return (cpu, insn) => {
    const bytes = insn.operandSize >>> 3;
    // A far pointer wants the alignment of its offset.
    if (!operandAddress(cpu, insn, bytes + 2, false) || !isAligned(cpu, bytes)) return Outcome.FAULT;
    const [lo, hi] = [cpu.lo, cpu.hi];
    const at = (lo + bytes) | 0;
    if (!readLinear(cpu, at, (hi + (at >>> 0 < bytes ? 1 : 0)) | 0, 16)) return Outcome.FAULT;
    const selector = cpu.lo;
    if (!readLinear(cpu, lo, hi, insn.operandSize)) return Outcome.FAULT;
    const [valueLo, valueHi] = [cpu.lo, cpu.hi];
    const outcome = load(cpu, segment, selector, false);
    if (outcome === Outcome.NEXT) writeGpr(cpu, insn.reg, insn.operandSize, valueLo, valueHi);
    return outcome;
  };
}
export const LES = loadFarPointer(Segment.ES);
export const LDS = loadFarPointer(Segment.DS);
export const LSS = loadFarPointer(Segment.SS);
export const LFS = loadFarPointer(Segment.FS);
export const LGS = loadFarPointer(Segment.GS);

const notProtected = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.PROTECTED) === 0;
/** System descriptor types that LAR and LSL accept (SDM Vol. 2, LAR and LSL, "Valid Types"). */
const LAR_TYPES: readonly number[] = [
  SystemType.TSS16,
  SystemType.LDT,
  SystemType.TSS16_BUSY,
  SystemType.CALL_GATE16,
  SystemType.TASK_GATE,
  SystemType.TSS32,
  SystemType.TSS32_BUSY,
  SystemType.CALL_GATE32,
];
const LAR_LONG: readonly number[] = [SystemType.LDT, SystemType.TSS32, SystemType.TSS32_BUSY, SystemType.CALL_GATE32];
const LSL_TYPES: readonly number[] = [SystemType.TSS16, SystemType.LDT, SystemType.TSS16_BUSY, SystemType.TSS32, SystemType.TSS32_BUSY];
const LSL_LONG: readonly number[] = [SystemType.LDT, SystemType.TSS32, SystemType.TSS32_BUSY];

/** Looks a selector up for LAR, LSL, VERR and VERW: true when it names a descriptor that this level may see; faults give null. */
function visible(cpu: Vcpu, selector: number, types: readonly number[]): boolean | null {
  const found = probeDescriptor(cpu, selector, cpu.descriptor);
  if (found < 0) return null;
  if (found === 0) return false;
  const { descriptor } = cpu;
  if (descriptor.isSystem && !types.includes(descriptor.type)) return false;
  if (descriptor.isConforming) return true;
  return Math.max(cpu.w[CPL]!, selector & 3) <= descriptor.dpl;
}

function query(types: (cpu: Vcpu) => readonly number[], result: (cpu: Vcpu) => number): (cpu: Vcpu, insn: Readonly<Instruction>) => Outcome {
  return (cpu, insn) => {
    if (notProtected(cpu)) return cpu.raise(Vector.UD);
    if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
    const seen = visible(cpu, cpu.lo & 0xffff, types(cpu));
    if (seen === null) return Outcome.FAULT;
    if (seen) writeGpr(cpu, insn.reg, insn.operandSize, result(cpu), 0);
    cpu.writeZf(seen);
    return Outcome.NEXT;
  };
}

const inLong = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.IA32E) !== 0;
/** Loads the access rights of a descriptor. */
export const LAR = query(
  (cpu) => (inLong(cpu) ? LAR_LONG : LAR_TYPES),
  (cpu) => cpu.descriptor.hi & 0xf0ff00,
);
/** Loads the limit of a descriptor. */
export const LSL = query(
  (cpu) => (inLong(cpu) ? LSL_LONG : LSL_TYPES),
  (cpu) => cpu.descriptor.limit | 0,
);

function verify(write: boolean): (cpu: Vcpu, insn: Readonly<Instruction>) => Outcome {
  return (cpu, insn) => {
    if (notProtected(cpu)) return cpu.raise(Vector.UD);
    if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
    const seen = visible(cpu, cpu.lo & 0xffff, []);
    if (seen === null) return Outcome.FAULT;
    cpu.writeZf(seen && (write ? cpu.descriptor.isWritableData : cpu.descriptor.isReadable));
    return Outcome.NEXT;
  };
}
/** Verifies that a segment can be read, or written. */
export const VERR = verify(false);
export const VERW = verify(true);

/** Raises a selector's RPL to that of another one. */
export function ARPL(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (notProtected(cpu)) return cpu.raise(Vector.UD);
  if (!readRm(cpu, insn, 16)) return Outcome.FAULT;
  const selector = cpu.lo & 0xffff;
  const rpl = cpu.w[GPR + 2 * insn.reg]! & 3;
  const raises = (selector & 3) < rpl;
  if (raises && !writeRm(cpu, insn, 16, (selector & ~3) | rpl, 0)) return Outcome.FAULT;
  cpu.writeZf(raises);
  return Outcome.NEXT;
}
