import type { Instruction } from '@nestvm/decoder';
import { ControlProtection, Mode, Segment, Vector } from '@nestvm/isa';
import { isCanonical } from '../mode.js';
import { readRm } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, MODE, RIP, SEG_LIMIT } from '../words.js';
import { noteIndirectBranch } from './tracker.js';

const isRelative = (insn: Readonly<Instruction>): boolean => insn.row.operands[0]?.method === 'J';

/** Leaves RIP plus a distance in `cpu.lo`/`cpu.hi`, cut to the operand size outside of 64-bit mode. */
function fromRip(cpu: Vcpu, insn: Readonly<Instruction>, distance: number): void {
  const w = cpu.w;
  const step = insn.length + distance;
  const lo = (w[RIP]! + step) | 0;
  if ((w[MODE]! & Mode.LONG) !== 0) {
    const carry = step >= 0 ? (lo >>> 0 < step ? 1 : 0) : lo >>> 0 > w[RIP]! >>> 0 ? -1 : 0;
    cpu.lo = lo;
    cpu.hi = (w[RIP + 1]! + carry) | 0;
    return;
  }
  cpu.lo = insn.operandSize === 16 ? lo & 0xffff : lo;
  cpu.hi = 0;
}

/** Checks a target in `cpu.lo`/`cpu.hi`; false: #GP was recorded. */
function isReachable(cpu: Vcpu): boolean {
  const long = (cpu.w[MODE]! & Mode.LONG) !== 0;
  const inside = long ? isCanonical(cpu, cpu.hi) : cpu.lo >>> 0 <= cpu.w[SEG_LIMIT + Segment.CS]! >>> 0;
  return inside ? true : cpu.fail(Vector.GP, 0);
}

function go(cpu: Vcpu, lo: number, hi: number): Outcome {
  cpu.w[RIP] = lo;
  cpu.w[RIP + 1] = hi;
  return Outcome.JUMPED;
}

/** The target into `cpu.lo`/`cpu.hi`, checked; false: a fault was recorded. */
function readTarget(cpu: Vcpu, insn: Readonly<Instruction>): boolean {
  if (isRelative(insn)) fromRip(cpu, insn, insn.immediate | 0);
  else if (!readRm(cpu, insn, insn.operandSize)) return false;
  return isReachable(cpu);
}

/** A near CALL, whose return address may have to go onto the shadow stack too, and whose target may have to be an ENDBRANCH (SDM Vol. 2, CALL). */
export function CALL_NEAR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const bytes = insn.operandSize >>> 3;
  if (!readTarget(cpu, insn)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  fromRip(cpu, insn, 0);
  const backLo = cpu.lo;
  const backHi = cpu.hi;
  cpu.stack.openCurrent();
  if (!cpu.stack.push(bytes, backLo, backHi)) return Outcome.FAULT;
  const mode = cpu.w[MODE]!;
  // A call of the next instruction only asks where it is.
  const asksForRip = isRelative(insn) && insn.immediate === 0;
  if ((mode & Mode.SHADOW_STACK) !== 0 && !asksForRip) {
    cpu.shadowStack.open(cpu.w[CPL]!);
    if (!cpu.shadowStack.push(bytes === 8 ? 8 : 4, backLo, backHi)) return Outcome.FAULT;
    cpu.shadowStack.commit();
  }
  cpu.stack.commit();
  if ((mode & Mode.IBT) !== 0 && !isRelative(insn)) noteIndirectBranch(cpu, insn);
  return go(cpu, lo, hi);
}

/** A near JMP; that of an indirect one has to be an ENDBRANCH, where branches are tracked. */
export function JMP_NEAR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!readTarget(cpu, insn)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  if ((cpu.w[MODE]! & Mode.IBT) !== 0 && !isRelative(insn)) noteIndirectBranch(cpu, insn);
  return go(cpu, lo, hi);
}

const CF = 1;
const PF = 1 << 2;
const ZF = 1 << 6;
const SF = 1 << 7;
const OF = 1 << 11;

/** Conditions by bits 3:1 of an opcode (SDM Vol. 1, "EFLAGS Condition Codes"); bit 0 turns them round. */
const CONDITIONS: readonly ((flags: number) => boolean)[] = [
  (f) => (f & OF) !== 0,
  (f) => (f & CF) !== 0,
  (f) => (f & ZF) !== 0,
  (f) => (f & (CF | ZF)) !== 0,
  (f) => (f & SF) !== 0,
  (f) => (f & PF) !== 0,
  (f) => ((f & SF) !== 0) !== ((f & OF) !== 0),
  (f) => (f & ZF) !== 0 || ((f & SF) !== 0) !== ((f & OF) !== 0),
];

/** A conditional jump. */
export function JCC_NEAR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const condition = insn.opcode & 15;
  if (CONDITIONS[condition >>> 1]!(cpu.readRflags()) === ((condition & 1) !== 0)) return Outcome.NEXT;
  return readTarget(cpu, insn) ? go(cpu, cpu.lo, cpu.hi) : Outcome.FAULT;
}

/** A near RET, that has to lead where the shadow stack says, if there is one (SDM Vol. 2, RET). */
export function RET_NEAR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const bytes = insn.operandSize >>> 3;
  cpu.stack.openCurrent();
  if (!cpu.stack.pop(bytes) || !isReachable(cpu)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  if ((cpu.w[MODE]! & Mode.SHADOW_STACK) !== 0) {
    cpu.shadowStack.open(cpu.w[CPL]!);
    if (!cpu.shadowStack.pop(bytes === 8 ? 8 : 4)) return Outcome.FAULT;
    if (cpu.lo !== lo || cpu.hi !== hi) return cpu.raise(Vector.CP, ControlProtection.NEAR_RET);
    cpu.shadowStack.commit();
  }
  if (insn.row.operands.length > 0) cpu.stack.move(insn.immediate & 0xffff);
  cpu.stack.commit();
  return go(cpu, lo, hi);
}
