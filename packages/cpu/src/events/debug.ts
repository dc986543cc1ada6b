import { Dr6, Dr7, Mode, Rflags, Vector } from '@nestvm/isa';
import { DebugCtl, Shadow, updateModeBits } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { DEBUG_CTL, DR, GUEST_MODE, INTERRUPTIBILITY, MODE, PENDING_DEBUG, RFLAGS, RIP, SEG_BASE } from '../words.js';

const DR6 = DR + 12;
const DR7 = DR + 14;
const CS_BASE = SEG_BASE + 2;

/** What a #DB that is about to be delivered does first: DR6 gets the pending causes, DR7.GD is cleared. */
export function enterDebugException(cpu: Vcpu): void {
  const w = cpu.w;
  const causes = w[PENDING_DEBUG]!;
  // B0-B3 are replaced, the others accumulate until software clears them.
  w[DR6] = (w[DR6]! & ~0xf) | causes;
  w[DR7] = w[DR7]! & ~Dr7.GD;
  w[PENDING_DEBUG] = 0;
}

/** Raises #DB as a fault of the present instruction with the given DR6 bits. */
export function raiseDebugFault(cpu: Vcpu, causes: number): Outcome {
  cpu.w[PENDING_DEBUG] = cpu.w[PENDING_DEBUG]! | causes;
  return cpu.raise(Vector.DB);
}

const lengthOf = (dr7: number, i: number): number => [1, 2, 8, 4][(dr7 >>> (18 + 4 * i)) & 3]!;

/** DR6 bits B0-B3 of the enabled breakpoints of one of the `kinds` (bit n: R/W = n) that touch `size` bytes at the address. */
function matchBreakpoints(cpu: Vcpu, lo: number, hi: number, size: number, kinds: number): number {
  const w = cpu.w;
  // SVM: a clear GIF discards them.
  if ((w[INTERRUPTIBILITY]! & Shadow.GIF) !== 0) return 0;
  const dr7 = w[DR7]!;
  let hits = 0;
  for (let i = 0; i < 4; i++) {
    if (((dr7 >>> (2 * i)) & 3) === 0 || ((kinds >>> ((dr7 >>> (16 + 4 * i)) & 3)) & 1) === 0) continue;
    const length = lengthOf(dr7, i);
    const start = (w[DR + 2 * i]! & ~(length - 1)) >>> 0;
    const first = lo >>> 0;
    if (w[DR + 2 * i + 1] === hi && first < start + length && start < first + size) hits |= 1 << i;
  }
  return hits;
}

/** Notes data breakpoints hit by an access (taken as a trap after the instruction). `write`: also those on writes only. */
export function noteDataAccess(cpu: Vcpu, lo: number, hi: number, size: number, write: boolean): void {
  const dr7 = cpu.w[DR7]!;
  if ((dr7 & Dr7.ENABLE) === 0) return;
  const hits = matchBreakpoints(cpu, lo, hi, size, write ? 0b1010 : 0b1000);
  if (hits !== 0) cpu.addPendingDebug(hits);
}

/** Notes I/O breakpoints hit by a port access; they need CR4.DE, without which R/W = 2 is undefined. */
export function notePortAccess(cpu: Vcpu, port: number, size: number): void {
  const dr7 = cpu.w[DR7]!;
  if ((dr7 & Dr7.ENABLE) === 0) return;
  const hits = matchBreakpoints(cpu, port, 0, size, 0b0100);
  if (hits !== 0) cpu.addPendingDebug(hits);
}

/**
 * Called before a block of one instruction (mode bit SINGLE): samples TF and checks code breakpoints.
 * False: #DB was recorded; call `deliverFault`.
 */
export function beforeInstruction(cpu: Vcpu): boolean {
  const w = cpu.w;
  const rflags = w[RFLAGS]!;
  cpu.trapFlag = rflags & Rflags.TF;
  cpu.freshShadow = 0;
  cpu.freshResume = 0;
  cpu.branched = 0;
  if ((w[DR7]! & Dr7.ENABLE) === 0 || (rflags & Rflags.RF) !== 0) return true;
  // Code breakpoints are not recognized behind MOV SS and POP SS.
  if ((w[INTERRUPTIBILITY]! & Shadow.MOV_SS) !== 0) return true;
  const lo = (w[CS_BASE]! + w[RIP]!) | 0;
  const carry = lo >>> 0 < w[RIP]! >>> 0 ? 1 : 0;
  const hi = (w[CS_BASE + 1]! + w[RIP + 1]! + carry) | 0;
  const hits = matchBreakpoints(cpu, lo, hi, 1, 0b0001);
  if (hits === 0) return true;
  raiseDebugFault(cpu, hits);
  return false;
}

/** The single-step trap and the end of the interrupt shadow, for what has just run alone. */
function endStep(cpu: Vcpu): void {
  const w = cpu.w;
  // A shadow that this very instruction set up is for the next one.
  if (cpu.freshShadow === 0) w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~(Shadow.STI | Shadow.MOV_SS);
  if (cpu.trapFlag !== 0) {
    if ((w[DEBUG_CTL]! & DebugCtl.BTF) === 0 || cpu.branched !== 0) w[PENDING_DEBUG] = w[PENDING_DEBUG]! | Dr6.BS;
    cpu.trapFlag = 0;
  }
  cpu.attention = 1;
  if (w[GUEST_MODE] !== 0 && cpu.virtualization?.singleStep === true) cpu.virtualization.completed?.(cpu);
  updateModeBits(cpu);
}

/**
 * Called after an iteration of a repeated string instruction that is not its last: single-stepping traps after each (SDM Vol. 2, "REP"), with RIP still at the
 * instruction. RF stays, so that a code breakpoint on it is not met again.
 */
export function afterIteration(cpu: Vcpu): void {
  if ((cpu.w[MODE]! & Mode.SINGLE) !== 0) endStep(cpu);
}

/**
 * Called after the instruction of a one-instruction block (mode bit SINGLE at its start) has completed, not after a fault: ends the interrupt shadow that
 * it ran under, clears RF, and makes the single-step trap pending.
 */
export function afterInstruction(cpu: Vcpu): void {
  const w = cpu.w;
  // Likewise an RF that this very instruction set.
  if (cpu.freshResume === 0) w[RFLAGS] = w[RFLAGS]! & ~Rflags.RF;
  endStep(cpu);
}
