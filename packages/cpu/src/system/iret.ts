import type { Instruction } from '@nestvm/decoder';
import { CetControl, Cr4, Mode, Rflags, Segment, Vector } from '@nestvm/isa';
import { iopl } from '../address.js';
import { shadowReturn } from '../cet/frames.js';
import { cetControl } from '../cet/state.js';
import { hasBreakpoint, isCanonical, Shadow, updateMode } from '../mode.js';
import { Outcome } from '../outcome.js';
import {
  Attribute,
  type Descriptor,
  fetchDescriptor,
  isNullSelector,
  markAccessed,
  setNullSegment,
  setRealSegment,
  setSegment,
  setVirtualSegment,
} from '../segments/descriptor.js';
import { returnFromTask } from '../segments/task-switch.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, DR, GPR, GUEST_MODE, INTERRUPTIBILITY, MODE, RFLAGS, RIP, SEG_ATTRIBUTES, SEG_LIMIT, SEG_SELECTOR } from '../words.js';

const RSP = GPR + 8;
const DATA_SEGMENTS = [Segment.ES, Segment.DS, Segment.FS, Segment.GS] as const;

/** NMIs are unblocked by every IRET, even by one that faults (SDM Vol. 3, "Handling Multiple NMIs"). */
function unblockNmis(cpu: Vcpu): void {
  const w = cpu.w;
  const mask = w[GUEST_MODE] !== 0 ? (cpu.virtualization?.iretUnblocks ?? Shadow.NMI) : Shadow.NMI;
  if ((w[INTERRUPTIBILITY]! & mask) === 0) return;
  w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~mask;
  cpu.nmiUnblocked = 1;
}

/** What every return does at its end: interrupts may have become possible. */
/** What follows the loading of RFLAGS from a frame. */
export function finishReturn(cpu: Vcpu): Outcome {
  const w = cpu.w;
  // RF matters to code breakpoints only; without one armed it would merely make blocks of one instruction.
  if ((w[RFLAGS]! & Rflags.RF) !== 0) {
    if (hasBreakpoint(w[DR + 14]!, 0)) cpu.freshResume = 1;
    else w[RFLAGS] = w[RFLAGS]! & ~Rflags.RF;
  }
  updateMode(cpu);
  cpu.attention = 1;
  return Outcome.JUMPED;
}

/** Flags that IRET may change, given CPL before the return. */
function returnMask(cpl: number, rflags: number, operandSize: number): number {
  let mask = Rflags.ARITHMETIC | Rflags.TF | Rflags.DF | Rflags.NT;
  if (operandSize !== 16) mask |= Rflags.RF | Rflags.AC | Rflags.ID;
  if (cpl === 0) mask |= Rflags.IOPL | (operandSize !== 16 ? Rflags.VIF | Rflags.VIP : 0);
  if (cpl <= iopl(rflags)) mask |= Rflags.IF;
  return mask;
}

function mergeFlags(cpu: Vcpu, value: number, mask: number): void {
  const flags = (cpu.w[RFLAGS]! & ~mask) | (value & mask);
  cpu.writeRflags(flags & ~Rflags.VM);
}

/** IRET in real mode, and in virtual-8086 mode with IOPL 3. */
function returnReal(cpu: Vcpu, operandSize: number): Outcome {
  const w = cpu.w;
  const { stack } = cpu;
  const bytes = operandSize >>> 3;
  stack.openCurrent();
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const ip = cpu.lo;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const cs = cpu.lo & 0xffff;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const flags = cpu.lo;
  if (ip >>> 0 > w[SEG_LIMIT + Segment.CS]! >>> 0) return cpu.raise(Vector.GP, 0);
  stack.commit();
  const virtual = (w[MODE]! & Mode.V8086) !== 0;
  const mask = returnMask(0, w[RFLAGS]!, operandSize) & ~(Rflags.VIF | Rflags.VIP | (virtual ? Rflags.IOPL : 0));
  const vm = w[RFLAGS]! & Rflags.VM;
  mergeFlags(cpu, flags, mask);
  w[RFLAGS] = w[RFLAGS]! | vm;
  if (virtual) setVirtualSegment(cpu, Segment.CS, cs);
  else setRealSegment(cpu, Segment.CS, cs);
  w[RIP] = ip;
  w[RIP + 1] = 0;
  return finishReturn(cpu);
}

/** IRET of 16 bits in virtual-8086 mode under VME with IOPL below 3: IF of the image goes to VIF. */
function returnVme(cpu: Vcpu): Outcome {
  const w = cpu.w;
  const { stack } = cpu;
  stack.openCurrent();
  if (!stack.pop(2)) return Outcome.FAULT;
  const ip = cpu.lo;
  if (!stack.pop(2)) return Outcome.FAULT;
  const cs = cpu.lo;
  if (!stack.pop(2)) return Outcome.FAULT;
  const flags = cpu.lo;
  const pending = (w[RFLAGS]! & Rflags.VIP) !== 0 && (flags & Rflags.IF) !== 0;
  if (pending || (flags & Rflags.TF) !== 0) return cpu.raise(Vector.GP, 0);
  stack.commit();
  const mask = Rflags.ARITHMETIC | Rflags.DF | Rflags.NT | Rflags.TF;
  const vif = (flags & Rflags.IF) !== 0 ? Rflags.VIF : 0;
  cpu.writeRflags((w[RFLAGS]! & ~(mask | Rflags.VIF)) | (flags & mask) | vif);
  setVirtualSegment(cpu, Segment.CS, cs);
  w[RIP] = ip;
  w[RIP + 1] = 0;
  return finishReturn(cpu);
}

/** Checks the code segment of a return (IRET and far RET) into `cpu.descriptor`. */
export function readReturnSegment(cpu: Vcpu, selector: number): boolean {
  if (isNullSelector(selector)) return cpu.fail(Vector.GP, 0);
  const code = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, code)) return false;
  const rpl = selector & 3;
  const error = selector & 0xfffc;
  const dplAllows = code.isConforming ? code.dpl <= rpl : code.dpl === rpl;
  if (!code.isCode || rpl < cpu.w[CPL]! || !dplAllows) return cpu.fail(Vector.GP, error);
  if ((cpu.w[MODE]! & Mode.IA32E) !== 0 && code.isLong && code.isBig) return cpu.fail(Vector.GP, error);
  if (!code.present) return cpu.fail(Vector.NP, error);
  return true;
}

/** Checks the stack segment of a return to level `cpl` into `cpu.stackDescriptor`; 1 usable, 2 null (64-bit code below level 3), 0 fault recorded. */
export function readReturnStack(cpu: Vcpu, selector: number, cpl: number, toLong: boolean): 0 | 1 | 2 {
  if (isNullSelector(selector)) {
    if (toLong && cpl !== 3 && (selector & 3) === cpl) return 2;
    cpu.raise(Vector.GP, 0);
    return 0;
  }
  const stack = cpu.stackDescriptor;
  if (!fetchDescriptor(cpu, selector, stack)) return 0;
  const error = selector & 0xfffc;
  if ((selector & 3) !== cpl || !stack.isWritableData || stack.dpl !== cpl) {
    cpu.raise(Vector.GP, error);
    return 0;
  }
  if (!stack.present) {
    cpu.raise(Vector.SS, error);
    return 0;
  }
  return markAccessed(cpu, stack) ? 1 : 0;
}

/**
 * Data segments that the new privilege level must not use become null (SDM Vol. 2, IRET and RET, "RETURN-TO-OUTER-PRIVILEGE-LEVEL"). Their bases stay: 64-bit code
 * uses those of FS and GS under a null selector, and a hypervisor may have left such a segment marked usable with DPL 0.
 */
export function dropDataSegments(cpu: Vcpu, cpl: number): void {
  const w = cpu.w;
  for (let i = 0; i < 4; i++) {
    const segment = DATA_SEGMENTS[i]!;
    const attributes = w[SEG_ATTRIBUTES + segment]!;
    if ((attributes & Attribute.UNUSABLE) !== 0) continue;
    const conforming = (attributes & 0x1c) === 0x1c;
    if (conforming || ((attributes >>> 5) & 3) >= cpl) continue;
    cpu.h[SEG_SELECTOR + segment] = 0;
    w[SEG_ATTRIBUTES + segment] = attributes | Attribute.UNUSABLE;
  }
}

/** True when the return target is inside the segment, or canonical for 64-bit code; #GP(0) recorded otherwise. */
export function checkTarget(cpu: Vcpu, code: Descriptor, toLong: boolean, lo: number, hi: number): boolean {
  const inside = toLong ? isCanonical(cpu, hi) : hi === 0 && lo >>> 0 <= code.limit;
  return inside ? true : cpu.fail(Vector.GP, 0);
}

/** From level 0 to virtual-8086 mode: the image had VM set. */
function returnToVirtual(cpu: Vcpu, ip: number, cs: number, flags: number): Outcome {
  const w = cpu.w;
  const { stack } = cpu;
  const words: number[] = [];
  for (let i = 0; i < 6; i++) {
    if (!stack.pop(4)) return Outcome.FAULT;
    words.push(cpu.lo);
  }
  // Level 3 is where virtual-8086 mode is, which knows neither of the two.
  if ((cetControl(cpu, 3) & (CetControl.ENDBR_EN | CetControl.SH_STK_EN)) !== 0) return cpu.raise(Vector.GP, 0);
  if (!shadowReturn.prepareVirtual(cpu)) return Outcome.FAULT;
  shadowReturn.commit(cpu);
  const [esp, ss, es, ds, fs, gs] = words as [number, number, number, number, number, number];
  cpu.writeRflags(flags & 0x3f7fd7);
  w[CPL] = 3;
  const order: readonly (readonly [number, number])[] = [
    [Segment.CS, cs],
    [Segment.SS, ss],
    [Segment.ES, es],
    [Segment.DS, ds],
    [Segment.FS, fs],
    [Segment.GS, gs],
  ];
  for (const [segment, selector] of order) setVirtualSegment(cpu, segment, selector & 0xffff);
  w[RIP] = ip & 0xffff;
  w[RIP + 1] = 0;
  cpu.setGpr32(4, esp);
  return finishReturn(cpu);
}

/** Commits a return to an outer level, or any return that loads SS:RSP. */
function commitOuter(cpu: Vcpu, cs: number, ss: number, stackKind: 1 | 2, spLo: number, spHi: number, toLong: boolean): void {
  const w = cpu.w;
  const rpl = cs & 3;
  const outer = rpl !== w[CPL];
  setSegment(cpu, Segment.CS, cs, cpu.descriptor);
  if (stackKind === 2) setNullSegment(cpu, Segment.SS, ss, rpl);
  else setSegment(cpu, Segment.SS, ss, cpu.stackDescriptor);
  w[CPL] = rpl;
  if (toLong) {
    w[RSP] = spLo;
    w[RSP + 1] = spHi;
  } else if (stackKind === 1 && cpu.stackDescriptor.isBig) {
    w[RSP] = spLo;
    w[RSP + 1] = 0;
  } else {
    w[RSP] = (w[RSP]! & ~0xffff) | (spLo & 0xffff);
  }
  if (outer) dropDataSegments(cpu, rpl);
}

/** The shadow stack's side of a return; nothing may fault after it. False: a fault was recorded. */
function returnShadow(cpu: Vcpu, cs: number, toLong: boolean, ipLo: number, ipHi: number): boolean {
  const w = cpu.w;
  if ((w[CR4]! & Cr4.CET) === 0) return true;
  if (!shadowReturn.prepare(cpu, cs, cpu.descriptor, toLong, ipLo, ipHi, (w[MODE]! & Mode.IA32E) !== 0)) return false;
  shadowReturn.commit(cpu);
  return true;
}

function returnProtected(cpu: Vcpu, operandSize: number): Outcome {
  const w = cpu.w;
  const { stack } = cpu;
  const mode = w[MODE]!;
  const bytes = operandSize >>> 3;
  stack.openCurrent();
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const ipLo = cpu.lo;
  const ipHi = cpu.hi;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const cs = cpu.lo & 0xffff;
  if (!stack.pop(bytes)) return Outcome.FAULT;
  const flags = cpu.lo;
  const cpl = w[CPL]!;
  if ((flags & Rflags.VM) !== 0 && cpl === 0 && (mode & Mode.IA32E) === 0 && operandSize === 32) return returnToVirtual(cpu, ipLo, cs, flags);
  if (!readReturnSegment(cpu, cs)) return Outcome.FAULT;
  const code = cpu.descriptor;
  const toLong = (mode & Mode.IA32E) !== 0 && code.isLong;
  const mask = returnMask(cpl, w[RFLAGS]!, operandSize);
  const loadsStack = (cs & 3) !== cpl || (mode & Mode.LONG) !== 0;
  if (!loadsStack) {
    if (!checkTarget(cpu, code, toLong, ipLo, ipHi) || !markAccessed(cpu, code)) return Outcome.FAULT;
    if (!returnShadow(cpu, cs, toLong, ipLo, ipHi)) return Outcome.FAULT;
    stack.commit();
    setSegment(cpu, Segment.CS, cs, code);
  } else {
    if (!stack.pop(bytes)) return Outcome.FAULT;
    const spLo = cpu.lo;
    const spHi = cpu.hi;
    if (!stack.pop(bytes)) return Outcome.FAULT;
    const ss = cpu.lo & 0xffff;
    const stackKind = readReturnStack(cpu, ss, cs & 3, toLong);
    if (stackKind === 0) return Outcome.FAULT;
    if (!checkTarget(cpu, code, toLong, ipLo, ipHi) || !markAccessed(cpu, code)) return Outcome.FAULT;
    if (!returnShadow(cpu, cs, toLong, ipLo, ipHi)) return Outcome.FAULT;
    commitOuter(cpu, cs, ss, stackKind, spLo, spHi, (mode & Mode.LONG) !== 0 && toLong);
  }
  w[RIP] = ipLo;
  w[RIP + 1] = ipHi;
  mergeFlags(cpu, flags, mask);
  return finishReturn(cpu);
}

/** Return from interrupt in every mode (SDM Vol. 2, IRET). */
export function IRET(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('IRET', insn.length)) return Outcome.JUMPED;
  unblockNmis(cpu);
  const outcome = returnByMode(cpu, insn);
  if (outcome !== Outcome.FAULT) cpu.nmiUnblocked = 0;
  return outcome;
}

function returnByMode(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const mode = w[MODE]!;
  if ((mode & (Mode.PROTECTED | Mode.V8086)) === 0) return returnReal(cpu, insn.operandSize);
  if ((mode & Mode.V8086) !== 0) {
    if (iopl(w[RFLAGS]!) === 3) return returnReal(cpu, insn.operandSize);
    if ((w[CR4]! & Cr4.VME) === 0 || insn.operandSize !== 16) return cpu.raise(Vector.GP, 0);
    return returnVme(cpu);
  }
  if ((w[RFLAGS]! & Rflags.NT) !== 0) {
    if ((mode & Mode.IA32E) !== 0) return cpu.raise(Vector.GP, 0);
    return returnFromTask(cpu, insn);
  }
  return returnProtected(cpu, insn.operandSize);
}
