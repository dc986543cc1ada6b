import { ControlProtection, Mode, Segment, Vector } from '@nestvm/isa';
import { isCanonical } from '../mode.js';
import type { Descriptor } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, INTERRUPT_SSP_TABLE, MODE, PL_SSP, SEG_BASE, SEG_SELECTOR, SSP } from '../words.js';
import { hasShadowStack } from './state.js';

/** Bit 0 of a supervisor shadow-stack token. */
const BUSY = 1;

/** How a far transfer leaves for its target: the level it comes to, and whether that is 64-bit code. */
export interface FarTarget {
  readonly cpl: number;
  readonly long: boolean;
}

/** The linear address of an offset in the present code segment, into `cpu.lo`/`cpu.hi`. */
function linearReturn(cpu: Vcpu, lo: number, hi: number): void {
  const long = (cpu.w[MODE]! & Mode.LONG) !== 0;
  cpu.lo = long ? lo : (lo + cpu.w[SEG_BASE + 2 * Segment.CS]!) | 0;
  cpu.hi = long ? hi : 0;
}

/** Pushes CS, the linear return address and the present SSP through the cursor, from an 8-byte boundary on. */
function pushFrame(cpu: Vcpu, returnLo: number, returnHi: number): boolean {
  const { shadowStack, w } = cpu;
  const sspLo = w[SSP]!;
  const sspHi = w[SSP + 1]!;
  linearReturn(cpu, returnLo, returnHi);
  const { lo, hi } = cpu;
  if (!shadowStack.isAligned && !shadowStack.push(4, 0, 0)) return false;
  return shadowStack.push(8, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) && shadowStack.push(8, lo, hi) && shadowStack.push(8, sspLo, sspHi);
}

/**
 * Takes a supervisor shadow stack: its token must be there and free (SDM Vol. 1, "Supervisor Shadow Stack Token"). On Intel the token and the frame below it have to
 * share 32 bytes, so that no push that follows can fault and leave the stack busy. False: #GP(0), or the fault of the access.
 */
export function takeShadowStack(cpu: Vcpu, lo: number, hi: number, target: FarTarget, vector: number = Vector.GP, error = 0): boolean {
  const { shadowStack } = cpu;
  const together = !cpu.features.intel || (lo & 0x1f) >= 24;
  const misplaced = (lo & 7) !== 0 || !together || (!target.long && hi !== 0);
  if (misplaced) return cpu.fail(vector, error);
  shadowStack.openAt(lo, hi, target.cpl, target.long);
  const taken = shadowStack.exchange(lo, hi, lo | BUSY, hi);
  if (taken < 0) return false;
  return taken === 1 ? true : cpu.fail(vector, error);
}

/** Where the shadow stack of an inner level, or of an interrupt stack (`ist` not 0), begins: into `cpu.lo`/`cpu.hi`; false when a fault was recorded. */
function readInnerPointer(cpu: Vcpu, cpl: number, ist: number): boolean {
  const { w, tables } = cpu;
  if (ist === 0) {
    cpu.lo = w[PL_SSP + 2 * cpl]!;
    cpu.hi = w[PL_SSP + 2 * cpl + 1]!;
    return true;
  }
  const lo = (w[INTERRUPT_SSP_TABLE]! + 8 * ist) | 0;
  if (!tables.read64(lo, (w[INTERRUPT_SSP_TABLE + 1]! + (lo >>> 0 < 8 * ist ? 1 : 0)) | 0, false)) return false;
  cpu.lo = tables.lo;
  cpu.hi = tables.hi;
  return true;
}

/**
 * The shadow stack's side of an event, or of a CALL through a gate, that returns to an offset in the present code segment: takes the stack of an inner level, or of
 * the gate's `ist`, and pushes the frame, unless it comes from level 3. SSP changes by `finishShadowEntry`. False: a fault was recorded.
 */
export function enterShadow(cpu: Vcpu, target: FarTarget, ist: number, returnLo: number, returnHi: number): boolean {
  if (!hasShadowStack(cpu, target.cpl)) return true;
  const inner = target.cpl < cpu.w[CPL]!;
  if (inner || ist !== 0) {
    if (!readInnerPointer(cpu, target.cpl, ist) || !takeShadowStack(cpu, cpu.lo, cpu.hi, target)) return false;
    if (inner && cpu.w[CPL] === 3) return true;
  } else cpu.shadowStack.openAt(cpu.w[SSP]!, cpu.w[SSP + 1]!, target.cpl, target.long);
  return pushFrame(cpu, returnLo, returnHi);
}

/** Commits what {@link enterShadow} did, before CPL changes: that of level 3 is kept in IA32_PL3_SSP. */
export function finishShadowEntry(cpu: Vcpu, cpl: number): void {
  const w = cpu.w;
  if (cpl < w[CPL]! && (w[MODE]! & Mode.SHADOW_STACK) !== 0) keepUserPointer(cpu);
  if (hasShadowStack(cpu, cpl)) cpu.shadowStack.commit();
}

/** IA32_PL3_SSP becomes SSP when level 3 is left. */
export function keepUserPointer(cpu: Vcpu): void {
  const w = cpu.w;
  if (w[CPL] !== 3) return;
  w[PL_SSP + 6] = w[SSP]!;
  w[PL_SSP + 7] = w[SSP + 1]!;
}

/** A far CALL or JMP at the same level to code that is not 64-bit code needs a pointer below 4 GiB; the CALL pushes its frame. */
export function passShadow(cpu: Vcpu, toLong: boolean, call: boolean, returnLo: number, returnHi: number): boolean {
  const w = cpu.w;
  if ((w[MODE]! & Mode.SHADOW_STACK) === 0) return true;
  if (!toLong && w[SSP + 1] !== 0) return cpu.fail(Vector.GP, 0);
  cpu.shadowStack.open(w[CPL]!);
  return !call || pushFrame(cpu, returnLo, returnHi);
}

/** Pops a frame through the cursor, which is at it, and compares it with where the return leads; the previous SSP is in `cpu.lo`/`cpu.hi`. */
function popFrame(cpu: Vcpu, cs: number, lo: number, hi: number): boolean {
  const { shadowStack } = cpu;
  if (!shadowStack.pop(8)) return false;
  const previousLo = cpu.lo;
  const previousHi = cpu.hi;
  if (!shadowStack.pop(8)) return false;
  const isThere = cpu.lo === lo && cpu.hi === hi;
  if (!shadowStack.pop(8)) return false;
  if (!isThere || cpu.lo !== cs || cpu.hi !== 0 || (previousLo & 3) !== 0) return cpu.fail(Vector.CP, ControlProtection.FAR_RET);
  cpu.lo = previousLo;
  cpu.hi = previousHi;
  return true;
}

/** What a far return does to the shadow stack, once nothing can fault any more. */
class ShadowReturn {
  private lo = 0;
  private hi = 0;
  private loads = false;
  private frees = false;
  private freeLo = 0;
  private freeHi = 0;

  /**
   * Checks a return to `cs` and an offset of the segment in `code` (SDM Vol. 2, IRET and RET); `ist` says that a return at the same level may leave an interrupt's
   * stack. False: #CP, #GP(0), or the fault of an access.
   */
  prepare(cpu: Vcpu, cs: number, code: Descriptor, toLong: boolean, ipLo: number, ipHi: number, ist: boolean): boolean {
    const { w, shadowStack } = cpu;
    const rpl = cs & 3;
    const outer = rpl > w[CPL]!;
    const had = (w[MODE]! & Mode.SHADOW_STACK) !== 0;
    this.loads = hasShadowStack(cpu, rpl);
    this.frees = false;
    cpu.lo = w[PL_SSP + 6]!;
    cpu.hi = w[PL_SSP + 7]!;
    if (had) {
      shadowStack.open(w[CPL]!);
      if (!shadowStack.isAligned) return cpu.fail(Vector.CP, ControlProtection.FAR_RET);
      const linear = toLong ? ipLo : (ipLo + code.base) | 0;
      if ((!outer || rpl !== 3) && !popFrame(cpu, cs, linear, toLong ? ipHi : 0)) return false;
    }
    this.lo = cpu.lo;
    this.hi = cpu.hi;
    if (this.loads && (toLong ? !isCanonical(cpu, this.hi) : this.hi !== 0)) return cpu.fail(Vector.GP, 0);
    if (!had || (!outer && (!ist || (this.lo === shadowStack.lo && this.hi === shadowStack.hi)))) return true;
    return this.prepareFree(cpu);
  }

  /** Checks a return to virtual-8086 mode, where no shadow stack is. */
  prepareVirtual(cpu: Vcpu): boolean {
    this.loads = false;
    this.frees = false;
    if ((cpu.w[MODE]! & Mode.SHADOW_STACK) === 0) return true;
    cpu.shadowStack.open(0);
    return cpu.shadowStack.isAligned ? this.prepareFree(cpu) : cpu.fail(Vector.CP, ControlProtection.FAR_RET);
  }

  /** The stack that is left has its token where the cursor is. */
  private prepareFree(cpu: Vcpu): boolean {
    this.frees = true;
    this.freeLo = cpu.shadowStack.lo;
    this.freeHi = cpu.shadowStack.hi;
    return cpu.shadowStack.probe();
  }

  /** Before CPL and the mode change. */
  commit(cpu: Vcpu): void {
    if (this.frees) cpu.shadowStack.exchange(this.freeLo | BUSY, this.freeHi, this.freeLo, this.freeHi);
    if (!this.loads) return;
    cpu.w[SSP] = this.lo;
    cpu.w[SSP + 1] = this.hi;
  }
}

/** The return under way: never holds anything between two instructions. */
export const shadowReturn = new ShadowReturn();
