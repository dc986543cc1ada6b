import type { Instruction } from '@nestvm/decoder';
import { Cr4, Mode, Segment, Vector } from '@nestvm/isa';
import { isAligned, operandAddress } from '../address.js';
import { enterShadow, finishShadowEntry, passShadow, shadowReturn } from '../cet/frames.js';
import { awaitEndbranch } from '../cet/state.js';
import { updateMode } from '../mode.js';
import { readLinear } from '../operands.js';
import { Outcome } from '../outcome.js';
import {
  fetchDescriptor,
  fetchUpperHalf,
  isNullSelector,
  markAccessed,
  SystemType,
  setNullSegment,
  setRealSegment,
  setSegment,
  setVirtualSegment,
} from '../segments/descriptor.js';
import { innerStack } from '../segments/inner-stack.js';
import { switchTask, TaskSwitch } from '../segments/task-switch.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, MODE, RIP, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';
import { checkTarget, dropDataSegments, readReturnSegment, readReturnStack } from './iret.js';

const RSP = GPR + 8;

/** The far pointer operand: offset in `cpu.lo`/`cpu.hi`, and the selector as result; -1 when a fault was recorded. */
function readFarPointer(cpu: Vcpu, insn: Readonly<Instruction>): number {
  if (!insn.hasModRm) {
    cpu.lo = insn.operandSize === 16 ? insn.immediate & 0xffff : insn.immediate | 0;
    cpu.hi = 0;
    return insn.immediate2 & 0xffff;
  }
  const bytes = insn.operandSize >>> 3;
  // A far pointer wants the alignment of its offset.
  if (!operandAddress(cpu, insn, bytes + 2, false) || !isAligned(cpu, bytes)) return -1;
  const lo = cpu.lo;
  const hi = cpu.hi;
  const at = (lo + bytes) | 0;
  const long = (cpu.w[MODE]! & Mode.LONG) !== 0;
  if (!readLinear(cpu, at, long ? (hi + (at >>> 0 < bytes ? 1 : 0)) | 0 : 0, 16)) return -1;
  const selector = cpu.lo;
  return readLinear(cpu, lo, hi, insn.operandSize) ? selector : -1;
}

function setTarget(cpu: Vcpu, lo: number, hi: number): Outcome {
  cpu.w[RIP] = lo;
  cpu.w[RIP + 1] = hi;
  updateMode(cpu);
  return Outcome.JUMPED;
}

/** RIP of the next instruction into `cpu.lo`/`cpu.hi`. */
function nextRip(cpu: Vcpu, insn: Readonly<Instruction>): void {
  const w = cpu.w;
  cpu.lo = (w[RIP]! + insn.length) | 0;
  cpu.hi = (w[MODE]! & Mode.LONG) !== 0 ? (w[RIP + 1]! + (cpu.lo >>> 0 < insn.length ? 1 : 0)) | 0 : 0;
}

const isRealLike = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.PROTECTED) === 0;

/** Loads CS the way real and virtual-8086 mode do. */
function setRealCode(cpu: Vcpu, selector: number): void {
  if ((cpu.w[MODE]! & Mode.V8086) !== 0) setVirtualSegment(cpu, Segment.CS, selector);
  else setRealSegment(cpu, Segment.CS, selector);
}

function farReal(cpu: Vcpu, insn: Readonly<Instruction>, selector: number, offset: number, call: boolean): Outcome {
  const w = cpu.w;
  if (call) {
    const bytes = insn.operandSize >>> 3;
    nextRip(cpu, insn);
    const next = cpu.lo;
    cpu.stack.openCurrent();
    if (!cpu.stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) || !cpu.stack.push(bytes, next, 0)) return Outcome.FAULT;
  }
  if (offset >>> 0 > w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.raise(Vector.GP, 0);
  if (call) cpu.stack.commit();
  setRealCode(cpu, selector);
  return setTarget(cpu, offset, 0);
}

/** Checks the code segment in `cpu.descriptor` as the direct target of a far JMP or CALL. */
function checkDirectCode(cpu: Vcpu, selector: number): boolean {
  const code = cpu.descriptor;
  const cpl = cpu.w[CPL]!;
  const error = selector & 0xfffc;
  const allowed = code.isConforming ? code.dpl <= cpl : (selector & 3) <= cpl && code.dpl === cpl;
  if (!allowed) return cpu.fail(Vector.GP, error);
  if ((cpu.w[MODE]! & Mode.IA32E) !== 0 && code.isLong && code.isBig) return cpu.fail(Vector.GP, error);
  if (!code.present) return cpu.fail(Vector.NP, error);
  return markAccessed(cpu, code);
}

/** Pushes CS and the return address on the current stack; the cursor still needs its commit. */
function pushReturn(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number): boolean {
  nextRip(cpu, insn);
  const lo = cpu.lo;
  const hi = cpu.hi;
  cpu.stack.openCurrent();
  return cpu.stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) && cpu.stack.push(bytes, lo, hi);
}

/** The shadow stack's side of a far CALL or JMP at the same level; nothing may fault after it. False: a fault was recorded. */
function passSameLevel(cpu: Vcpu, insn: Readonly<Instruction>, toLong: boolean, call: boolean): boolean {
  nextRip(cpu, insn);
  if (!passShadow(cpu, toLong, call, cpu.lo, cpu.hi)) return false;
  if ((cpu.w[MODE]! & Mode.SHADOW_STACK) !== 0) cpu.shadowStack.commit();
  awaitEndbranch(cpu, cpu.w[CPL]!);
  return true;
}

const hasCet = (cpu: Vcpu): boolean => (cpu.w[CR4]! & Cr4.CET) !== 0;

function toCode(cpu: Vcpu, insn: Readonly<Instruction>, selector: number, lo: number, hi: number, call: boolean): Outcome {
  if (!checkDirectCode(cpu, selector)) return Outcome.FAULT;
  const code = cpu.descriptor;
  const toLong = (cpu.w[MODE]! & Mode.IA32E) !== 0 && code.isLong;
  if (call && !pushReturn(cpu, insn, insn.operandSize >>> 3)) return Outcome.FAULT;
  if (!checkTarget(cpu, code, toLong, lo, hi)) return Outcome.FAULT;
  if (hasCet(cpu) && !passSameLevel(cpu, insn, toLong, call)) return Outcome.FAULT;
  if (call) cpu.stack.commit();
  setSegment(cpu, Segment.CS, (selector & 0xfffc) | cpu.w[CPL]!, code);
  return setTarget(cpu, lo, hi);
}

/** Parameters of a call gate, read before the stack is switched. */
function readParameters(cpu: Vcpu, count: number, bytes: number): number[] | null {
  const parameters: number[] = [];
  cpu.stack.openCurrent();
  for (let i = 0; i < count; i++) {
    if (!cpu.stack.peek(i * bytes, bytes)) return null;
    parameters.push(cpu.lo);
  }
  return parameters;
}

/** Opens the inner stack of a call through a gate: its SS selector, or -1. In IA-32e mode SS becomes null. */
function openInner(cpu: Vcpu, cpl: number): number {
  const { w, tables } = cpu;
  if ((w[MODE]! & Mode.IA32E) === 0) return innerStack(cpu, cpl);
  const offset = 4 + 8 * cpl;
  const base = SEG_BASE + 2 * Segment.TR;
  if (offset + 7 > w[SEG_LIMIT + Segment.TR]! >>> 0) {
    cpu.raise(Vector.TS, cpu.h[SEG_SELECTOR + Segment.TR]! & 0xfffc);
    return -1;
  }
  const lo = (w[base]! + offset) | 0;
  if (!tables.read64(lo, (w[base + 1]! + (lo >>> 0 < offset ? 1 : 0)) | 0, false)) return -1;
  cpu.stack.openLong(tables.lo, tables.hi, cpl === 3);
  return cpl;
}

/** A CALL through a gate to an inner level: stack switch, parameters, return frame. */
function callInner(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number, parameterCount: number, lo: number, hi: number): Outcome {
  const { w, h, stack } = cpu;
  const cpl = cpu.descriptor.dpl;
  const ia32e = (w[MODE]! & Mode.IA32E) !== 0;
  const parameters = ia32e ? [] : readParameters(cpu, parameterCount, bytes);
  if (parameters === null) return Outcome.FAULT;
  const selector = openInner(cpu, cpl);
  if (selector < 0) return Outcome.FAULT;
  if (!stack.push(bytes, h[SEG_SELECTOR + Segment.SS]!, 0) || !stack.push(bytes, w[RSP]!, w[RSP + 1]!)) return Outcome.FAULT;
  for (let i = parameters.length - 1; i >= 0; i--) if (!stack.push(bytes, parameters[i]!, 0)) return Outcome.FAULT;
  nextRip(cpu, insn);
  const nextLo = cpu.lo;
  const nextHi = cpu.hi;
  if (!stack.push(bytes, h[SEG_SELECTOR + Segment.CS]!, 0) || !stack.push(bytes, nextLo, nextHi)) return Outcome.FAULT;
  if (!checkTarget(cpu, cpu.descriptor, ia32e, lo, hi)) return Outcome.FAULT;
  if (hasCet(cpu)) {
    if (!enterShadow(cpu, { cpl, long: ia32e }, 0, nextLo, nextHi)) return Outcome.FAULT;
    finishShadowEntry(cpu, cpl);
    awaitEndbranch(cpu, cpl);
  }
  if (ia32e) setNullSegment(cpu, Segment.SS, cpl, cpl);
  else {
    setSegment(cpu, Segment.SS, selector, cpu.stackDescriptor);
    w[RSP + 1] = 0;
  }
  w[RSP] = stack.spLo;
  if (ia32e) w[RSP + 1] = stack.spHi;
  setSegment(cpu, Segment.CS, (cpu.gate.gateSelector & 0xfffc) | cpl, cpu.descriptor);
  w[CPL] = cpl;
  return setTarget(cpu, lo, hi);
}

/** The checks on a call gate's target segment, left in `cpu.descriptor`. */
function readGateTarget(cpu: Vcpu, selector: number, call: boolean): boolean {
  if (isNullSelector(selector)) return cpu.fail(Vector.GP, 0);
  const code = cpu.descriptor;
  const cpl = cpu.w[CPL]!;
  const error = selector & 0xfffc;
  if (!fetchDescriptor(cpu, selector, code)) return false;
  const allowed = call || code.isConforming ? code.dpl <= cpl : code.dpl === cpl;
  if (!code.isCode || !allowed) return cpu.fail(Vector.GP, error);
  if ((cpu.w[MODE]! & Mode.IA32E) !== 0 && (!code.isLong || code.isBig)) return cpu.fail(Vector.GP, error);
  if (!code.present) return cpu.fail(Vector.NP, error);
  return markAccessed(cpu, code);
}

function throughGate(cpu: Vcpu, insn: Readonly<Instruction>, gateSelector: number, call: boolean): Outcome {
  const { gate, w } = cpu;
  const ia32e = (w[MODE]! & Mode.IA32E) !== 0;
  if (ia32e && !fetchUpperHalf(cpu, gateSelector, gate)) return Outcome.FAULT;
  const selector = gate.gateSelector;
  if (!readGateTarget(cpu, selector, call)) return Outcome.FAULT;
  const code = cpu.descriptor;
  const wide = (gate.type & 8) !== 0;
  const lo = wide ? gate.gateOffset : gate.gateOffset & 0xffff;
  const hi = ia32e ? gate.upper : 0;
  const bytes = ia32e ? 8 : wide ? 4 : 2;
  if (call && !code.isConforming && code.dpl < w[CPL]!) return callInner(cpu, insn, bytes, gate.hi & 0x1f, lo, hi);
  if (call && !pushReturn(cpu, insn, bytes)) return Outcome.FAULT;
  if (!checkTarget(cpu, code, ia32e, lo, hi)) return Outcome.FAULT;
  if (hasCet(cpu) && !passSameLevel(cpu, insn, ia32e, call)) return Outcome.FAULT;
  if (call) cpu.stack.commit();
  setSegment(cpu, Segment.CS, (selector & 0xfffc) | w[CPL]!, code);
  return setTarget(cpu, lo, hi);
}

/** A far transfer to a system descriptor: call gate, task gate or TSS. */
function toSystem(cpu: Vcpu, insn: Readonly<Instruction>, selector: number, call: boolean): Outcome {
  const gate = cpu.gate;
  const error = selector & 0xfffc;
  const type = gate.type;
  const ia32e = (cpu.w[MODE]! & Mode.IA32E) !== 0;
  const callGate = type === SystemType.CALL_GATE32 || (!ia32e && type === SystemType.CALL_GATE16);
  const task = !ia32e && (type === SystemType.TASK_GATE || type === SystemType.TSS16 || type === SystemType.TSS32);
  if ((!callGate && !task) || gate.dpl < Math.max(cpu.w[CPL]!, selector & 3)) return cpu.raise(Vector.GP, error);
  if (!gate.present) return cpu.raise(Vector.NP, error);
  if (callGate) return throughGate(cpu, insn, selector, call);
  const target = type === SystemType.TASK_GATE ? gate.gateSelector : selector;
  nextRip(cpu, insn);
  return switchTask(cpu, target, call ? TaskSwitch.CALL : TaskSwitch.JUMP, cpu.lo) ? Outcome.JUMPED : Outcome.FAULT;
}

function farTransfer(cpu: Vcpu, insn: Readonly<Instruction>, call: boolean): Outcome {
  const selector = readFarPointer(cpu, insn);
  if (selector < 0) return Outcome.FAULT;
  const lo = cpu.lo;
  const hi = cpu.hi;
  if (isRealLike(cpu)) return farReal(cpu, insn, selector, lo, call);
  if (isNullSelector(selector)) return cpu.raise(Vector.GP, 0);
  const descriptor = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, descriptor)) return Outcome.FAULT;
  if (descriptor.isCode) return toCode(cpu, insn, selector, lo, hi, call);
  if (!descriptor.isSystem) return cpu.raise(Vector.GP, selector & 0xfffc);
  if (!fetchDescriptor(cpu, selector, cpu.gate)) return Outcome.FAULT;
  return toSystem(cpu, insn, selector, call);
}

/** Far jump: code segment, call gate, task gate or TSS (SDM Vol. 2, JMP). */
export const JMPF = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => farTransfer(cpu, insn, false);
/** Far call (SDM Vol. 2, CALL). */
export const CALLF = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => farTransfer(cpu, insn, true);

function returnReal(cpu: Vcpu, bytes: number, release: number): Outcome {
  const { stack, w } = cpu;
  stack.openCurrent();
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const ip = cpu.lo;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const cs = cpu.lo & 0xffff;
  if (ip >>> 0 > w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.raise(Vector.GP, 0);
  stack.move(release);
  stack.commit();
  setRealCode(cpu, cs);
  return setTarget(cpu, ip, 0);
}

/** The outer half of a far return: SS:RSP from the stack, its release on the outer stack too. */
function returnOuter(cpu: Vcpu, bytes: number, release: number, cs: number, ipLo: number, ipHi: number): Outcome {
  const { stack, w } = cpu;
  const rpl = cs & 3;
  const code = cpu.descriptor;
  const ia32e = (w[MODE]! & Mode.IA32E) !== 0;
  const toLong = ia32e && code.isLong;
  stack.move(release);
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const spLo = cpu.lo;
  const spHi = cpu.hi;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const ss = cpu.lo & 0xffff;
  const kind = readReturnStack(cpu, ss, rpl, toLong);
  if (kind === 0 || !checkTarget(cpu, code, toLong, ipLo, ipHi) || !markAccessed(cpu, code)) return Outcome.FAULT;
  if (hasCet(cpu)) {
    if (!shadowReturn.prepare(cpu, cs, code, toLong, ipLo, ipHi, false)) return Outcome.FAULT;
    shadowReturn.commit(cpu);
  }
  setSegment(cpu, Segment.CS, cs, code);
  if (kind === 2) {
    setNullSegment(cpu, Segment.SS, ss, rpl);
    stack.openLong(spLo, spHi, rpl === 3);
  } else {
    setSegment(cpu, Segment.SS, ss, cpu.stackDescriptor);
    if (toLong) stack.openLong(spLo, spHi, rpl === 3);
    else stack.openSegment(cpu.stackDescriptor, spLo, rpl === 3, ss);
  }
  stack.move(release);
  stack.commit();
  w[CPL] = rpl;
  dropDataSegments(cpu, rpl);
  return setTarget(cpu, ipLo, ipHi);
}

/** Far return, with the immediate's bytes released from the stack (SDM Vol. 2, RET). */
export function RETF(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { stack, w } = cpu;
  const bytes = insn.operandSize >>> 3;
  const release = insn.row.operands.length > 0 ? insn.immediate & 0xffff : 0;
  if (isRealLike(cpu)) return returnReal(cpu, bytes, release);
  stack.openCurrent();
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const ipLo = cpu.lo;
  const ipHi = cpu.hi;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const cs = cpu.lo & 0xffff;
  if (!readReturnSegment(cpu, cs)) return Outcome.FAULT;
  if ((cs & 3) !== w[CPL]) return returnOuter(cpu, bytes, release, cs, ipLo, ipHi);
  const code = cpu.descriptor;
  const toLong = (w[MODE]! & Mode.IA32E) !== 0 && code.isLong;
  if (!checkTarget(cpu, code, toLong, ipLo, ipHi) || !markAccessed(cpu, code)) return Outcome.FAULT;
  if (hasCet(cpu)) {
    if (!shadowReturn.prepare(cpu, cs, code, toLong, ipLo, ipHi, false)) return Outcome.FAULT;
    shadowReturn.commit(cpu);
  }
  stack.move(release);
  stack.commit();
  setSegment(cpu, Segment.CS, cs, code);
  return setTarget(cpu, ipLo, ipHi);
}
