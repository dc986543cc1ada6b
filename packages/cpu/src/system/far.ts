import { Mode, Segment, Vector } from '@nestvm/isa';
import type { Instruction } from '@nestvm/decoder';
import { operandAddress } from '../address.js';
import { isCanonical, updateMode } from '../mode.js';
import { readLinear } from '../operands.js';
import { Outcome } from '../outcome.js';
import { fetchDescriptor, fetchUpperHalf, isNullSelector, markAccessed, setNullSegment, setRealSegment, setSegment, setVirtualSegment, SystemType } from '../segments/descriptor.js';
import { innerStack } from '../segments/inner-stack.js';
import { switchTask, TaskSwitch } from '../segments/task-switch.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, GPR, MODE, RIP, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';
import { checkTarget, dropDataSegments, readReturnSegment, readReturnStack } from './iret.js';

const RSP = GPR + 8;

/** The far pointer of the instruction: selector, and offset halves. */
interface FarPointer {
  selector: number;
  lo: number;
  hi: number;
}
const pointer: FarPointer = { selector: 0, lo: 0, hi: 0 };

/** Reads the far pointer, from the instruction or from memory; false when a fault was recorded. */
function readPointer(cpu: Vcpu, insn: Readonly<Instruction>): boolean {
  if (insn.row.operands[0]!.method === 'A') {
    pointer.selector = insn.immediate2 & 0xffff;
    pointer.lo = insn.operandSize === 16 ? insn.immediate & 0xffff : insn.immediate;
    pointer.hi = 0;
    return true;
  }
  const bytes = insn.operandSize >>> 3;
  if (!operandAddress(cpu, insn, bytes + 2, false)) return false;
  const { lo, hi } = cpu;
  const at = (lo + bytes) | 0;
  if (!readLinear(cpu, lo, hi, insn.operandSize)) return false;
  pointer.lo = cpu.lo;
  pointer.hi = cpu.hi;
  if (!readLinear(cpu, at, (hi + (at >>> 0 < bytes ? 1 : 0)) | 0, 16)) return false;
  pointer.selector = cpu.lo & 0xffff;
  return true;
}

const isProtected = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.PROTECTED) !== 0;

/** RIP of the next instruction, low and high half. */
const nextLo = (cpu: Vcpu, insn: Readonly<Instruction>): number => (cpu.w[RIP]! + insn.length) | 0;
function nextHi(cpu: Vcpu, insn: Readonly<Instruction>): number {
  return (cpu.w[RIP + 1]! + (nextLo(cpu, insn) >>> 0 < insn.length ? 1 : 0)) | 0;
}

function arrive(cpu: Vcpu, lo: number, hi: number): Outcome {
  cpu.w[RIP] = lo;
  cpu.w[RIP + 1] = hi;
  updateMode(cpu);
  return Outcome.JUMPED;
}

/** Real and virtual-8086 mode: the selector is the base. */
function arriveReal(cpu: Vcpu, selector: number, lo: number): Outcome {
  if ((cpu.w[MODE]! & Mode.V8086) !== 0) setVirtualSegment(cpu, Segment.CS, selector);
  else setRealSegment(cpu, Segment.CS, selector);
  return arrive(cpu, lo, 0);
}

/** Reads a descriptor for a far transfer into `cpu.descriptor`; false when a fault was recorded. */
function readTarget(cpu: Vcpu, selector: number): boolean {
  if (isNullSelector(selector)) return cpu.fail(Vector.GP, 0);
  return fetchDescriptor(cpu, selector, cpu.descriptor);
}

/** Checks a code segment that is reached directly: `gateCpl` < 0, or through a gate. Leaves `cpu.descriptor` ready; false with a fault. */
function checkDirectCode(cpu: Vcpu, selector: number): boolean {
  const code = cpu.descriptor;
  const cpl = cpu.w[CPL]!;
  const error = selector & 0xfffc;
  const reachable = code.isConforming ? code.dpl <= cpl : (selector & 3) <= cpl && code.dpl === cpl;
  if (!code.isCode || !reachable) return cpu.fail(Vector.GP, error);
  if ((cpu.w[MODE]! & Mode.IA32E) !== 0 && code.isLong && code.isBig) return cpu.fail(Vector.GP, error);
  return code.present ? true : cpu.fail(Vector.NP, error);
}

const goesLong = (cpu: Vcpu): boolean => (cpu.w[MODE]! & Mode.IA32E) !== 0 && cpu.descriptor.isLong;

function commitCode(cpu: Vcpu, selector: number, cpl: number): void {
  setSegment(cpu, Segment.CS, (selector & 0xfffc) | cpl, cpu.descriptor);
  cpu.w[CPL] = cpl;
}

/** JMP to a code segment of this level. */
function jumpDirect(cpu: Vcpu, selector: number, lo: number, hi: number): Outcome {
  if (!checkDirectCode(cpu, selector)) return Outcome.FAULT;
  if (!checkTarget(cpu, cpu.descriptor, goesLong(cpu), lo, hi)) return Outcome.FAULT;
  if (!markAccessed(cpu, cpu.descriptor)) return Outcome.FAULT;
  commitCode(cpu, selector, cpu.w[CPL]!);
  return arrive(cpu, lo, hi);
}

/** A call gate's target: selector and offset, with the target's descriptor in `cpu.descriptor`. */
interface GateTarget {
  selector: number;
  lo: number;
  hi: number;
  /** Bytes of each pushed element. */
  bytes: number;
  parameters: number;
}
const target: GateTarget = { selector: 0, lo: 0, hi: 0, bytes: 0, parameters: 0 };

/** Reads through the call gate in `cpu.descriptor` (SDM Vol. 3, "Accessing a Code Segment Through a Call Gate"); false with a fault. */
function readCallGate(cpu: Vcpu, gateSelector: number, isCall: boolean): boolean {
  const gate = cpu.descriptor;
  const { w } = cpu;
  const error = gateSelector & 0xfffc;
  const long = (w[MODE]! & Mode.IA32E) !== 0;
  const cpl = w[CPL]!;
  if (gate.dpl < cpl || (gateSelector & 3) > gate.dpl) return cpu.fail(Vector.GP, error);
  if (!gate.present) return cpu.fail(Vector.NP, error);
  if (long && !fetchUpperHalf(cpu, gateSelector, gate)) return false;
  target.selector = gate.gateSelector;
  target.bytes = long ? 8 : gate.type === SystemType.CALL_GATE32 ? 4 : 2;
  target.lo = target.bytes === 2 ? gate.gateOffset & 0xffff : gate.gateOffset;
  target.hi = long ? gate.upper : 0;
  target.parameters = long ? 0 : gate.hi & 31;
  const { selector } = target;
  if (!readTarget(cpu, selector)) return false;
  const code = cpu.descriptor;
  const inner = selector & 0xfffc;
  const reachable = isCall ? code.dpl <= cpl : code.isConforming ? code.dpl <= cpl : code.dpl === cpl;
  if (!code.isCode || !reachable) return cpu.fail(Vector.GP, inner);
  if (long && (!code.isLong || code.isBig)) return cpu.fail(Vector.GP, inner);
  return code.present ? true : cpu.fail(Vector.NP, inner);
}

const TASK_GATES: readonly number[] = [SystemType.TSS16, SystemType.TSS32, SystemType.TASK_GATE];
const CALL_GATES: readonly number[] = [SystemType.CALL_GATE16, SystemType.CALL_GATE32];

/** A jump or call to a TSS or task gate. */
function toTask(cpu: Vcpu, insn: Readonly<Instruction>, selector: number, reason: TaskSwitch): Outcome {
  const { descriptor } = cpu;
  const error = selector & 0xfffc;
  if (descriptor.dpl < cpu.w[CPL]! || (selector & 3) > descriptor.dpl) return cpu.raise(Vector.GP, error);
  if (!descriptor.present) return cpu.raise(Vector.NP, error);
  const task = descriptor.type === SystemType.TASK_GATE ? descriptor.gateSelector : selector;
  return switchTask(cpu, task, reason, nextLo(cpu, insn)) ? Outcome.JUMPED : Outcome.FAULT;
}

/** Far jump (SDM Vol. 2, JMP). */
export function JMPF(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!readPointer(cpu, insn)) return Outcome.FAULT;
  const { selector, lo, hi } = pointer;
  if (!isProtected(cpu)) {
    if (lo >>> 0 > cpu.w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.raise(Vector.GP, 0);
    return arriveReal(cpu, selector, lo);
  }
  if (!readTarget(cpu, selector)) return Outcome.FAULT;
  const { descriptor } = cpu;
  if (!descriptor.isSystem) return jumpDirect(cpu, selector, lo, hi);
  const long = (cpu.w[MODE]! & Mode.IA32E) !== 0;
  if (CALL_GATES.includes(descriptor.type) && !(long && descriptor.type === SystemType.CALL_GATE16)) {
    if (!readCallGate(cpu, selector, false)) return Outcome.FAULT;
    if (!checkTarget(cpu, cpu.descriptor, goesLong(cpu), target.lo, target.hi) || !markAccessed(cpu, cpu.descriptor)) return Outcome.FAULT;
    commitCode(cpu, target.selector, cpu.w[CPL]!);
    return arrive(cpu, target.lo, target.hi);
  }
  if (!long && TASK_GATES.includes(descriptor.type)) return toTask(cpu, insn, selector, TaskSwitch.JUMP);
  return cpu.raise(Vector.GP, selector & 0xfffc);
}

/** CALL to a code segment of this level. */
function callDirect(cpu: Vcpu, insn: Readonly<Instruction>, selector: number, lo: number, hi: number): Outcome {
  const { stack } = cpu;
  const bytes = insn.operandSize >>> 3;
  if (!checkDirectCode(cpu, selector)) return Outcome.FAULT;
  stack.openCurrent();
  if (!stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) || !stack.push(bytes, nextLo(cpu, insn), nextHi(cpu, insn))) return Outcome.FAULT;
  if (!checkTarget(cpu, cpu.descriptor, goesLong(cpu), lo, hi) || !markAccessed(cpu, cpu.descriptor)) return Outcome.FAULT;
  stack.commit();
  commitCode(cpu, selector, cpu.w[CPL]!);
  return arrive(cpu, lo, hi);
}

/** Pushes the return address of a call through a gate, at the gate's width. */
function pushReturn(cpu: Vcpu, insn: Readonly<Instruction>): boolean {
  const { bytes } = target;
  return cpu.stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) && cpu.stack.push(bytes, nextLo(cpu, insn), nextHi(cpu, insn));
}

/** The inner stack of a 64-bit call gate: RSPn of the TSS, with a null SS. */
function openLongStack(cpu: Vcpu, cpl: number): boolean {
  const { w, tables } = cpu;
  const offset = 4 + 8 * cpl;
  if (offset + 7 > w[SEG_LIMIT + Segment.TR]! >>> 0) return cpu.fail(Vector.TS, cpu.h[SEG_SELECTOR + Segment.TR]! & 0xfffc);
  const base = SEG_BASE + 2 * Segment.TR;
  const lo = (w[base]! + offset) | 0;
  if (!tables.read64(lo, (w[base + 1]! + (lo >>> 0 < offset ? 1 : 0)) | 0, false)) return false;
  if (!isCanonical(cpu, tables.hi)) return cpu.fail(Vector.SS, 0);
  cpu.stack.openLong(tables.lo, tables.hi, cpl === 3);
  return true;
}

/** CALL through a gate to a more privileged level: a new stack with the old one's address, the parameters, and the return address. */
function callInner(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w, stack } = cpu;
  const { bytes, parameters, selector } = target;
  const cpl = cpu.descriptor.dpl;
  const words: number[] = [];
  stack.openCurrent();
  for (let i = 0; i < parameters; i++) {
    if (!stack.peek(i * bytes, bytes)) return Outcome.FAULT;
    words.push(cpu.lo);
  }
  const long = bytes === 8;
  const ss = long ? cpl : innerStack(cpu, cpl);
  if (ss < 0 || (long && !openLongStack(cpu, cpl))) return Outcome.FAULT;
  let pushed = stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.SS]!, 0) && stack.push(bytes, w[RSP]!, w[RSP + 1]!);
  for (const word of words.reverse()) pushed &&= stack.push(bytes, word, 0);
  if (!pushed || !pushReturn(cpu, insn)) return Outcome.FAULT;
  if (!checkTarget(cpu, cpu.descriptor, goesLong(cpu), target.lo, target.hi) || !markAccessed(cpu, cpu.descriptor)) return Outcome.FAULT;
  if (long) setNullSegment(cpu, Segment.SS, cpl, cpl);
  else setSegment(cpu, Segment.SS, ss, cpu.stackDescriptor);
  stack.commit();
  commitCode(cpu, selector, cpl);
  return arrive(cpu, target.lo, target.hi);
}

function callGate(cpu: Vcpu, insn: Readonly<Instruction>, selector: number): Outcome {
  if (!readCallGate(cpu, selector, true)) return Outcome.FAULT;
  const { stack, descriptor } = cpu;
  if (!descriptor.isConforming && descriptor.dpl < cpu.w[CPL]!) return callInner(cpu, insn);
  stack.openCurrent();
  if (!pushReturn(cpu, insn)) return Outcome.FAULT;
  if (!checkTarget(cpu, descriptor, goesLong(cpu), target.lo, target.hi) || !markAccessed(cpu, descriptor)) return Outcome.FAULT;
  stack.commit();
  commitCode(cpu, target.selector, cpu.w[CPL]!);
  return arrive(cpu, target.lo, target.hi);
}

/** Far call (SDM Vol. 2, CALL). */
export function CALLF(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!readPointer(cpu, insn)) return Outcome.FAULT;
  const { selector, lo, hi } = pointer;
  if (!isProtected(cpu)) {
    const { stack } = cpu;
    const bytes = insn.operandSize >>> 3;
    stack.openCurrent();
    if (!stack.push(bytes, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) || !stack.push(bytes, nextLo(cpu, insn), 0)) return Outcome.FAULT;
    if (lo >>> 0 > cpu.w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.raise(Vector.GP, 0);
    stack.commit();
    return arriveReal(cpu, selector, lo);
  }
  if (!readTarget(cpu, selector)) return Outcome.FAULT;
  const { descriptor } = cpu;
  if (!descriptor.isSystem) return callDirect(cpu, insn, selector, lo, hi);
  const long = (cpu.w[MODE]! & Mode.IA32E) !== 0;
  if (CALL_GATES.includes(descriptor.type) && !(long && descriptor.type === SystemType.CALL_GATE16)) return callGate(cpu, insn, selector);
  if (!long && TASK_GATES.includes(descriptor.type)) return toTask(cpu, insn, selector, TaskSwitch.CALL);
  return cpu.raise(Vector.GP, selector & 0xfffc);
}

/** Far return (SDM Vol. 2, RET), to this level or an outer one. */
export function RETF(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { stack, w } = cpu;
  const bytes = insn.operandSize >>> 3;
  const extra = insn.row.operands.length > 0 ? insn.immediate & 0xffff : 0;
  stack.openCurrent();
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const selector = cpu.lo & 0xffff;
  if (!isProtected(cpu)) {
    if (lo >>> 0 > w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.raise(Vector.GP, 0);
    stack.move(extra);
    stack.commit();
    return arriveReal(cpu, selector, lo);
  }
  if (!readReturnSegment(cpu, selector)) return Outcome.FAULT;
  const toLong = goesLong(cpu);
  stack.move(extra);
  if ((selector & 3) === w[CPL]) {
    if (!checkTarget(cpu, cpu.descriptor, toLong, lo, hi) || !markAccessed(cpu, cpu.descriptor)) return Outcome.FAULT;
    stack.commit();
    setSegment(cpu, Segment.CS, selector, cpu.descriptor);
    return arrive(cpu, lo, hi);
  }
  return returnOuter(cpu, bytes, selector, lo, hi, toLong, extra);
}

function returnOuter(cpu: Vcpu, bytes: number, selector: number, lo: number, hi: number, toLong: boolean, extra: number): Outcome {
  const { stack, w } = cpu;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const spLo = cpu.lo;
  const spHi = cpu.hi;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const ss = cpu.lo & 0xffff;
  const cpl = selector & 3;
  const kind = readReturnStack(cpu, ss, cpl, toLong);
  if (kind === 0) return Outcome.FAULT;
  if (!checkTarget(cpu, cpu.descriptor, toLong, lo, hi) || !markAccessed(cpu, cpu.descriptor)) return Outcome.FAULT;
  setSegment(cpu, Segment.CS, selector, cpu.descriptor);
  if (kind === 2) setNullSegment(cpu, Segment.SS, ss, cpl);
  else setSegment(cpu, Segment.SS, ss, cpu.stackDescriptor);
  w[CPL] = cpl;
  const sum = (spLo + extra) | 0;
  if (bytes === 8 && toLong) {
    w[RSP] = sum;
    w[RSP + 1] = (spHi + (sum >>> 0 < extra ? 1 : 0)) | 0;
  } else if (kind === 1 && cpu.stackDescriptor.isBig) cpu.setGpr32(4, sum);
  else w[RSP] = (w[RSP]! & ~0xffff) | (sum & 0xffff);
  dropDataSegments(cpu, cpl);
  return arrive(cpu, lo, hi);
}
