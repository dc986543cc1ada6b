import { Cr4, Rflags, Segment, Vector } from '@nestvm/isa';
import { enterShadow, finishShadowEntry } from '../cet/frames.js';
import { awaitEndbranch } from '../cet/state.js';
import { isCanonical, updateMode } from '../mode.js';
import { EventKind } from '../ports/virtualization.js';
import { fetchDescriptor, isNullSelector, markAccessed, setNullSegment, setSegment } from '../segments/descriptor.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, IDTR_BASE, IDTR_LIMIT, RFLAGS, RIP, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';

const RSP = GPR + 8;

/** Reads the 16-byte gate of a vector into `cpu.gate` and checks it (SDM Vol. 2, INT n, "IA-32e-MODE"). */
function readGate(cpu: Vcpu, vector: number, kind: EventKind): boolean {
  const w = cpu.w;
  const { gate, tables } = cpu;
  const error = (vector << 3) | 2;
  const offset = vector << 4;
  if (offset + 15 > w[IDTR_LIMIT]! >>> 0) return cpu.fail(Vector.GP, error);
  const lo = (w[IDTR_BASE]! + offset) | 0;
  const hi = (w[IDTR_BASE + 1]! + (lo >>> 0 < offset ? 1 : 0)) | 0;
  if (!tables.read64(lo, hi, false)) return false;
  gate.lo = tables.lo;
  gate.hi = tables.hi;
  const lo8 = (lo + 8) | 0;
  if (!tables.read64(lo8, (hi + (lo8 >>> 0 < 8 ? 1 : 0)) | 0, false)) return false;
  gate.upper = tables.lo;
  // A 64-bit interrupt or trap gate: S clear, type 14 or 15.
  if ((gate.hi & 0x1e00) !== 0x0e00) return cpu.fail(Vector.GP, error);
  if ((kind === EventKind.SOFTWARE_INTERRUPT || kind === EventKind.SOFTWARE_EXCEPTION) && gate.dpl < w[CPL]!) return cpu.fail(Vector.GP, error);
  if (!gate.present) return cpu.fail(Vector.NP, error);
  return true;
}

/** Reads the handler's code segment into `cpu.descriptor` and checks it. */
function readHandlerSegment(cpu: Vcpu, selector: number): boolean {
  if (isNullSelector(selector)) return cpu.fail(Vector.GP, 0);
  const code = cpu.descriptor;
  if (!fetchDescriptor(cpu, selector, code)) return false;
  const error = selector & 0xfffc;
  if (!code.isCode || code.dpl > cpu.w[CPL]! || !code.isLong || code.isBig) return cpu.fail(Vector.GP, error);
  if (!code.present) return cpu.fail(Vector.NP, error);
  return markAccessed(cpu, code);
}

/** Reads a stack pointer of the 64-bit TSS into the cursor: `slot` 0-2 for RSPn, 4-10 for IST1-7. */
function openTssStack(cpu: Vcpu, offset: number, cpl: number): boolean {
  const w = cpu.w;
  const { tables } = cpu;
  if (offset + 7 > w[SEG_LIMIT + Segment.TR]! >>> 0) return cpu.fail(Vector.TS, cpu.h[SEG_SELECTOR + Segment.TR]! & 0xfffc);
  const base = SEG_BASE + 2 * Segment.TR;
  const lo = (w[base]! + offset) | 0;
  if (!tables.read64(lo, (w[base + 1]! + (lo >>> 0 < offset ? 1 : 0)) | 0, false)) return false;
  if (!isCanonical(cpu, tables.hi)) return cpu.fail(Vector.SS, 0);
  cpu.stack.openLong(tables.lo, tables.hi, cpl === 3);
  return true;
}

/** Chooses the handler's stack: IST, the TSS's stack of an inner privilege level, or the current one. */
function openHandlerStack(cpu: Vcpu, ist: number, cpl: number): boolean {
  const w = cpu.w;
  if (ist !== 0) return openTssStack(cpu, 0x1c + 8 * ist, cpl);
  if (cpl < w[CPL]!) return openTssStack(cpu, 4 + 8 * cpl, cpl);
  cpu.stack.openLong(w[RSP]!, w[RSP + 1]!, cpl === 3);
  return isCanonical(cpu, w[RSP + 1]!) ? true : cpu.fail(Vector.SS, 0);
}

/**
 * Delivers one event through a 64-bit IDT. False: a fault was recorded and nothing but stack memory has changed.
 * `flags` is the RFLAGS image to push.
 */
export function deliverLong(
  cpu: Vcpu,
  vector: number,
  kind: EventKind,
  error: number,
  hasError: boolean,
  returnLo: number,
  returnHi: number,
  flags: number,
): boolean {
  const w = cpu.w;
  const { gate, stack } = cpu;
  if (!readGate(cpu, vector, kind)) return false;
  const selector = gate.gateSelector;
  if (!readHandlerSegment(cpu, selector)) return false;
  const code = cpu.descriptor;
  const oldCpl = w[CPL]!;
  const cpl = code.isConforming ? oldCpl : code.dpl;
  if (!openHandlerStack(cpu, gate.hi & 7, cpl)) return false;
  stack.spLo &= ~15;
  const pushed =
    stack.push(8, cpu.h[SEG_SELECTOR + Segment.SS]!, 0) &&
    stack.push(8, w[RSP]!, w[RSP + 1]!) &&
    stack.push(8, flags, 0) &&
    stack.push(8, cpu.h[SEG_SELECTOR + Segment.CS]!, 0) &&
    stack.push(8, returnLo, returnHi) &&
    (!hasError || stack.push(8, error, 0));
  if (!pushed) return false;
  const cet = (w[CR4]! & Cr4.CET) !== 0;
  const ripLo = gate.gateOffset;
  const ripHi = gate.upper;
  if (!isCanonical(cpu, ripHi)) return cpu.fail(Vector.GP, 0);
  if (cet && !enterShadow(cpu, { cpl, long: true }, gate.hi & 7, returnLo, returnHi)) return false;
  stack.commit();
  if (cet) finishShadowEntry(cpu, cpl);
  if (cpl !== oldCpl) setNullSegment(cpu, Segment.SS, cpl, cpl);
  setSegment(cpu, Segment.CS, (selector & 0xfffc) | cpl, code);
  w[CPL] = cpl;
  w[RIP] = ripLo;
  w[RIP + 1] = ripHi;
  let rflags = w[RFLAGS]! & ~(Rflags.TF | Rflags.RF | Rflags.NT | Rflags.VM);
  if ((gate.hi & 0x100) === 0) rflags &= ~Rflags.IF;
  w[RFLAGS] = rflags;
  if (cet) awaitEndbranch(cpu, cpl);
  updateMode(cpu);
  return true;
}
