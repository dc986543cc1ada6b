import { CetControl, Cr0, Cr4, Efer, GIF_CLEAR, Mode, Rflags, Segment, Xstate } from '@nestvm/isa';
import { mpxMode } from './mpx/state.js';
import type { Vcpu } from './vcpu.js';
import {
  CPL,
  CR0,
  CR4,
  DEBUG_CTL,
  DR,
  EFER,
  GUEST_MODE,
  INTERRUPTIBILITY,
  MODE,
  RFLAGS,
  S_CET,
  SEG_ATTRIBUTES,
  SEG_BASE,
  SEG_LIMIT,
  U_CET,
  UINTR_REQUESTS,
  XCR0,
} from './words.js';

const ATTRIBUTE_L = 1 << 13;
const ATTRIBUTE_DB = 1 << 14;
const UNUSABLE = 1 << 16;

/** Blocked by STI, by MOV SS/POP SS, by an NMI, by SMM, by a clear GIF (SVM: everything from outside waits), or by a virtual NMI: bits of `interruptibility`. */
export const Shadow = { STI: 1, MOV_SS: 2, NMI: 4, SMI: 8, GIF: GIF_CLEAR, VIRTUAL_NMI: 32 } as const;

/** Bits of IA32_DEBUGCTL: record branches, single-step on branches; stop recording, and counting, when a performance counter interrupts. */
export const DebugCtl = { LBR: 1, BTF: 2, FREEZE_LBRS: 1 << 11, FREEZE_COUNTERS: 1 << 12 } as const;

/** Unusable, code, expand-down, writable: of these a flat data segment has the last alone. */
const DATA_TYPE = UNUSABLE | 0xe;
const WRITABLE_UP = 2;

const spansAll = (w: Int32Array, segment: number): boolean => w[SEG_BASE + 2 * segment] === 0 && w[SEG_LIMIT + segment] === -1;

/** True when a linear address is an offset, and no access is refused. */
const isFlatData = (w: Int32Array, segment: number): boolean => spansAll(w, segment) && (w[SEG_ATTRIBUTES + segment]! & DATA_TYPE) === WRITABLE_UP;

/** True when DR7 arms a breakpoint of the given R/W kind (0 execute, 1 write, 2 I/O, 3 read or write). */
export function hasBreakpoint(dr7: number, kind: number): boolean {
  for (let i = 0; i < 4; i++) {
    if (((dr7 >>> (2 * i)) & 3) !== 0 && ((dr7 >>> (16 + 4 * i)) & 3) === kind) return true;
  }
  return false;
}

/** What makes instructions run alone beside TF: none of it has to stop a repeated string between its elements. */
function needsSingle(w: Int32Array, rflags: number): boolean {
  if ((rflags & Rflags.RF) !== 0 || (w[INTERRUPTIBILITY]! & (Shadow.STI | Shadow.MOV_SS)) !== 0) return true;
  if ((w[DEBUG_CTL]! & DebugCtl.LBR) !== 0) return true;
  const dr7 = w[DR + 14]!;
  return (dr7 & 0xff) !== 0 && hasBreakpoint(dr7, 0);
}

/** Which register extensions run without #UD or #NM (SDM Vol. 3, "Checking for Support for an OS"), and how wide addresses are. */
function extensionsInForce(w: Int32Array, cr0: number, mode: number): number {
  const cr4 = w[CR4]!;
  let bits = (mode & Mode.IA32E) !== 0 && (cr4 & Cr4.LA57) !== 0 ? Mode.LA57 : 0;
  if ((cr0 & Cr0.TS) !== 0) return bits;
  if ((cr0 & Cr0.EM) === 0) {
    bits |= Mode.X87;
    if ((cr4 & Cr4.OSFXSR) !== 0) bits |= Mode.SSE;
  }
  if ((cr4 & Cr4.OSXSAVE) !== 0 && (mode & Mode.PROTECTED) !== 0 && (w[XCR0]! & 6) === 6) bits |= Mode.AVX;
  return bits;
}

/** What CET does at the present CPL, CR4.CET being set. */
function cetMode(w: Int32Array, user: boolean): number {
  const control = w[user ? U_CET : S_CET]!;
  const bits = (control & CetControl.SH_STK_EN) !== 0 ? Mode.SHADOW_STACK : 0;
  if ((control & CetControl.ENDBR_EN) === 0) return bits;
  if ((control & CetControl.TRACKER) !== 0) return bits | Mode.IBT | Mode.ENDBRANCH;
  return bits | ((control & CetControl.SUPPRESS) !== 0 ? Mode.SUPPRESSED : Mode.IBT);
}

/** The `Mode` bits that the present state of the vCPU implies. */
function computeMode(cpu: Vcpu): number {
  const w = cpu.w;
  const rflags = w[RFLAGS]!;
  const cr0 = w[CR0]!;
  const user = w[CPL] === 3;
  let mode = user ? Mode.USER : 0;
  if ((cr0 & Cr0.PE) !== 0) mode |= (rflags & Rflags.VM) !== 0 ? Mode.V8086 : Mode.PROTECTED;
  if ((w[EFER]! & Efer.LMA) !== 0) mode |= Mode.IA32E;
  const cs = w[SEG_ATTRIBUTES + Segment.CS]!;
  if ((mode & Mode.IA32E) !== 0 && (cs & ATTRIBUTE_L) !== 0) {
    // 64-bit mode: FLAT is what segmentation does there, and SS.B means nothing.
    mode |= Mode.LONG | Mode.FLAT;
  } else {
    if ((cs & ATTRIBUTE_DB) !== 0) mode |= Mode.CODE32;
    if ((w[SEG_ATTRIBUTES + Segment.SS]! & ATTRIBUTE_DB) !== 0) mode |= Mode.STACK32;
    if (spansAll(w, Segment.CS) && isFlatData(w, Segment.SS) && isFlatData(w, Segment.DS) && isFlatData(w, Segment.ES)) mode |= Mode.FLAT;
  }
  mode |= extensionsInForce(w, cr0, mode);
  if ((w[CR4]! & Cr4.CET) !== 0 && (mode & Mode.PROTECTED) !== 0) mode |= cetMode(w, user);
  if ((w[XCR0]! & Xstate.BNDREGS) !== 0) mode |= mpxMode(w);
  if (user && (rflags & Rflags.AC) !== 0 && (cr0 & Cr0.AM) !== 0) mode |= Mode.ALIGN;
  if ((rflags & Rflags.TF) !== 0 || (w[GUEST_MODE] !== 0 && cpu.virtualization?.singleStep === true)) mode |= Mode.SINGLE | Mode.ELEMENT;
  else if (needsSingle(w, rflags)) mode |= Mode.SINGLE;
  return mode;
}

/**
 * Recomputes `mode` and puts the right TLB bank in force. Call it after anything that changes CS, SS (or another data segment outside of 64-bit mode),
 * CPL, CR0, CR4, EFER, DR7, IA32_DEBUGCTL, IA32_U_CET, IA32_S_CET, the interrupt shadow, or TF, RF, VM, AC of RFLAGS.
 */
export function updateMode(cpu: Vcpu): void {
  cpu.w[MODE] = computeMode(cpu);
  if ((cpu.w[UINTR_REQUESTS]! | cpu.w[UINTR_REQUESTS + 1]!) !== 0) cpu.requestAttention();
  if (cpu.counters.watchesState) cpu.counters.stateChanged();
  cpu.mmu.setContext();
}

/** Recomputes `mode` alone, for changes that no translation depends on: TF, RF, the interrupt shadow, DR7, a data segment. */
export function updateModeBits(cpu: Vcpu): void {
  cpu.w[MODE] = computeMode(cpu);
}

/** High half of the linear address whose low half is `nextLo`, on the page after one with high half `hi`: outside of 64-bit mode addresses wrap at 4 GiB. */
export function nextPageHigh(cpu: Vcpu, nextLo: number, hi: number): number {
  if (nextLo !== 0) return hi;
  return (cpu.w[MODE]! & Mode.LONG) !== 0 ? (hi + 1) | 0 : 0;
}

/** How far bit 63 reaches down in a canonical high half: a canonical address has `hi >> shift` equal to 0 or -1. */
export const canonicalShift = (cpu: Vcpu): number => ((cpu.w[CR4]! & 0x1000) !== 0 ? 24 : 15);

/** True when the address is canonical under the paging mode in force (48 or 57 bits). */
export function isCanonical(cpu: Vcpu, hi: number): boolean {
  const top = hi >> canonicalShift(cpu);
  return top === 0 || top === -1;
}
