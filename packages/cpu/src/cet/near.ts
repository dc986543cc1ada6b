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

/** A near CALL whose return address goes onto the shadow stack too, or whose target has to be an ENDBRANCH (SDM Vol. 2, CALL). */
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

/** A near indirect JMP whose target has to be an ENDBRANCH. */
export function JMP_NEAR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!readTarget(cpu, insn)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  noteIndirectBranch(cpu, insn);
  return go(cpu, lo, hi);
}

/** A near RET that has to lead where the shadow stack says (SDM Vol. 2, RET). */
export function RET_NEAR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const bytes = insn.operandSize >>> 3;
  cpu.stack.openCurrent();
  if (!cpu.stack.pop(bytes) || !isReachable(cpu)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  cpu.shadowStack.open(cpu.w[CPL]!);
  if (!cpu.shadowStack.pop(bytes === 8 ? 8 : 4)) return Outcome.FAULT;
  if (cpu.lo !== lo || cpu.hi !== hi) return cpu.raise(Vector.CP, ControlProtection.NEAR_RET);
  cpu.shadowStack.commit();
  if (insn.row.operands.length > 0) cpu.stack.move(insn.immediate & 0xffff);
  cpu.stack.commit();
  return go(cpu, lo, hi);
}
