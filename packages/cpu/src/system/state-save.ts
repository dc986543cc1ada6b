import type { Instruction } from '@nestvm/decoder';
import { Cr0, Cr4, Mode, Vector, Xstate } from '@nestvm/isa';
import { xsaveComponents } from '@nestvm/isa/models';
import { dataAddress, operandAddress } from '../address.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR0, CR4, EFER, GPR, MODE, MXCSR, PKRU, word, XCR0, XSS } from '../words.js';
import { quadComponents } from '../xstate/components.js';
import { areQuadsGood, clearQuads, inUseBit, putQuads, takeQuads } from '../xstate/quads.js';

const FCW = word('fcw');
const FSW = word('fsw');
const FTOP = word('ftop');
const FTAG = word('ftag');
const FOP = word('fop');
const FCS = word('fcs');
const FDS = word('fds');
const FIP = word('fip');
const FDP = word('fdp');
const FPR = word('fpr');
const VEC = word('vec');
const MXCSR_MASK = 0x0002ffff;
const LEGACY_BYTES = 512;
const HEADER_BYTES = 64;
const AREA_BYTES = 4096;
const FFXSR = 1 << 14;
/** Layouts of XSAVE areas that are remembered at most. */
const LAYOUTS = 64;

/** The area being built or read: never holds anything between two instructions. */
const area = new Uint8Array(AREA_BYTES);
const view = new DataView(area.buffer);
/** The same as words; byte offsets into it are multiples of 4. */
const words = new Int32Array(area.buffer);
/** What FXSAVE writes, and what XRSTOR reads first: parts of the area, made once. */
const legacy = area.subarray(0, LEGACY_BYTES);
const legacyAndHeader = area.subarray(0, LEGACY_BYTES + HEADER_BYTES);

/** Writes the x87 part of the legacy region (bytes 0-23 and 32-159). */
function putX87(cpu: Vcpu, wide: boolean): void {
  const { w } = cpu;
  view.setUint16(0, w[FCW]!, true);
  view.setUint16(2, (w[FSW]! & ~0x3800) | (w[FTOP]! << 11), true);
  area[4] = w[FTAG]!;
  area[5] = 0;
  view.setUint16(6, w[FOP]! & 0x7ff, true);
  view.setInt32(8, w[FIP]!, true);
  view.setInt32(12, wide ? w[FIP + 1]! : cpu.features.noFcsFds ? 0 : w[FCS]! & 0xffff, true);
  view.setInt32(16, w[FDP]!, true);
  view.setInt32(20, wide ? w[FDP + 1]! : cpu.features.noFcsFds ? 0 : w[FDS]! & 0xffff, true);
  for (let i = 0; i < 8; i++) {
    const from = FPR + 4 * ((w[FTOP]! + i) & 7);
    const to = 8 + 4 * i;
    words[to] = w[from]!;
    words[to + 1] = w[from + 1]!;
    words[to + 2] = w[from + 2]! & 0xffff;
    words[to + 3] = 0;
  }
}

function takeX87(cpu: Vcpu, wide: boolean): void {
  const { w } = cpu;
  w[FCW] = view.getUint16(0, true) | 0x40;
  const status = view.getUint16(2, true);
  w[FTOP] = (status >>> 11) & 7;
  // ES and B follow from what is pending and unmasked.
  const pending = status & ~w[FCW]! & 0x3f;
  w[FSW] = (status & ~0xb880) | (pending !== 0 ? 0x8080 : 0);
  w[FTAG] = area[4]!;
  w[FOP] = view.getUint16(6, true) & 0x7ff;
  w[FIP] = view.getInt32(8, true);
  w[FIP + 1] = wide ? view.getInt32(12, true) : 0;
  w[FCS] = wide ? 0 : view.getUint16(12, true);
  w[FDP] = view.getInt32(16, true);
  w[FDP + 1] = wide ? view.getInt32(20, true) : 0;
  w[FDS] = wide ? 0 : view.getUint16(20, true);
  for (let i = 0; i < 8; i++) {
    const to = FPR + 4 * ((w[FTOP]! + i) & 7);
    w[to] = words[8 + 4 * i]!;
    w[to + 1] = words[9 + 4 * i]!;
    w[to + 2] = (w[to + 2]! & ~0xffff) | (words[10 + 4 * i]! & 0xffff);
  }
}

/** Words of the x87 state that are zero in its initial configuration. */
const CLEAR_X87 = [FSW, FTOP, FTAG, FOP, FCS, FDS, FIP, FIP + 1, FDP, FDP + 1];

function clearX87(cpu: Vcpu): void {
  const { w } = cpu;
  w[FCW] = 0x37f;
  for (let i = 0; i < CLEAR_X87.length; i++) w[CLEAR_X87[i]!] = 0;
  w.fill(0, FPR, FPR + 32);
}

/** Vector registers 0-15 (0-7 outside of 64-bit mode): bytes `from`-`from+16` of each slot. */
const vectorCount = (cpu: Vcpu): number => ((cpu.w[MODE]! & Mode.LONG) !== 0 ? 16 : 8);

function putVectors(cpu: Vcpu, at: number, from: number): void {
  const { w } = cpu;
  const count = 4 * vectorCount(cpu);
  const [to, source] = [at >>> 2, VEC + (from >>> 2)];
  for (let i = 0; i < count; i++) words[to + i] = w[source + 4 * (i & ~3) + (i & 3)]!;
}

function takeVectors(cpu: Vcpu, at: number, from: number): void {
  const { w } = cpu;
  const count = 4 * vectorCount(cpu);
  const [source, to] = [at >>> 2, VEC + (from >>> 2)];
  for (let i = 0; i < count; i++) w[to + 4 * (i & ~3) + (i & 3)] = words[source + i]!;
}

function clearVectors(cpu: Vcpu, from: number): void {
  const { w } = cpu;
  const count = 4 * vectorCount(cpu);
  const to = VEC + (from >>> 2);
  for (let i = 0; i < count; i++) w[to + 4 * (i & ~3) + (i & 3)] = 0;
}

/** The operand's linear address, aligned as asked; false when a fault was recorded. */
function locate(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number, write: boolean, alignment: number): boolean {
  if (!operandAddress(cpu, insn, bytes, write)) return false;
  return (cpu.lo & (alignment - 1)) === 0 ? true : cpu.fail(Vector.GP, 0);
}

const isUser = (cpu: Vcpu): boolean => cpu.w[CPL] === 3;

/** FFXSR (AMD): level 0 in 64-bit mode neither saves nor loads XMM. */
const skipsXmm = (cpu: Vcpu): boolean => (cpu.w[EFER]! & FFXSR) !== 0 && (cpu.w[MODE]! & Mode.LONG) !== 0 && cpu.w[CPL] === 0;

function fxUnavailable(cpu: Vcpu): Outcome | null {
  const cr0 = cpu.w[CR0]!;
  if ((cr0 & Cr0.EM) !== 0) return cpu.raise(Vector.UD);
  return (cr0 & Cr0.TS) !== 0 ? cpu.raise(Vector.NM) : null;
}

/** Saves x87, MMX, and with CR4.OSFXSR SSE state in 512 bytes. */
export function FXSAVE(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const refused = fxUnavailable(cpu);
  if (refused !== null) return refused;
  if (!locate(cpu, insn, LEGACY_BYTES, true, 16)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  // Bytes that are not written keep what memory has.
  if (!cpu.linear.readBytes(lo, hi, legacy, isUser(cpu))) return Outcome.FAULT;
  putX87(cpu, insn.operandSize === 64);
  view.setInt32(24, cpu.w[MXCSR]!, true);
  view.setInt32(28, MXCSR_MASK, true);
  if ((cpu.w[CR4]! & Cr4.OSFXSR) !== 0 && !skipsXmm(cpu)) putVectors(cpu, 160, 0);
  return cpu.linear.writeBytes(lo, hi, legacy, isUser(cpu)) ? Outcome.NEXT : Outcome.FAULT;
}

/** Loads what FXSAVE saved. */
export function FXRSTOR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const refused = fxUnavailable(cpu);
  if (refused !== null) return refused;
  if (!locate(cpu, insn, LEGACY_BYTES, false, 16)) return Outcome.FAULT;
  if (!cpu.linear.readBytes(cpu.lo, cpu.hi, legacy, isUser(cpu))) return Outcome.FAULT;
  const sse = (cpu.w[CR4]! & Cr4.OSFXSR) !== 0;
  const mxcsr = view.getInt32(24, true);
  if (sse && (mxcsr & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  takeX87(cpu, insn.operandSize === 64);
  if (sse) cpu.w[MXCSR] = mxcsr;
  if (sse && !skipsXmm(cpu)) takeVectors(cpu, 160, 0);
  return Outcome.NEXT;
}

/** #UD and #NM of the XSAVE family. */
function xUnavailable(cpu: Vcpu): Outcome | null {
  if ((cpu.w[CR4]! & Cr4.OSXSAVE) === 0) return cpu.raise(Vector.UD);
  return (cpu.w[CR0]! & Cr0.TS) !== 0 ? cpu.raise(Vector.NM) : null;
}

/** Components not in their initial configuration (SDM Vol. 1, "Processor Tracking of XSAVE-Managed State"). */
function inUse(cpu: Vcpu): number {
  const { w } = cpu;
  let used = w[FCW] === 0x37f && isZero(w, FPR, 32) ? 0 : 1;
  for (let i = 0; i < CLEAR_X87.length; i++) if (w[CLEAR_X87[i]!] !== 0) used |= 1;
  const count = vectorCount(cpu);
  for (let i = 0; i < count && (used & 6) !== 6; i++) {
    if (!isZero(w, VEC + 16 * i, 4)) used |= 2;
    if (!isZero(w, VEC + 16 * i + 4, 4)) used |= 4;
  }
  if (w[PKRU] !== 0) used |= Xstate.PKRU;
  for (let i = 0; i < quadComponents.length; i++) used |= inUseBit(quadComponents[i]!, w);
  return used;
}

function isZero(w: Int32Array, from: number, length: number): boolean {
  for (let i = from; i < from + length; i++) if (w[i] !== 0) return false;
  return true;
}

const requested = (cpu: Vcpu, mask: number): number => cpu.w[GPR]! & mask;

/** Where components are in an area: byte offsets by number, and the size of it all with the bytes themselves. */
interface Layout {
  readonly places: ReadonlyMap<number, number>;
  readonly bytes: number;
  /** All of the area, and the part behind the header. */
  readonly all: Uint8Array;
  readonly extended: Uint8Array;
}

/** Remembers the layouts of the few masks that a guest uses. */
function remembered(make: (mask: number) => { readonly places: ReadonlyMap<number, number>; readonly bytes: number }): (mask: number) => Layout {
  const known = new Map<number, Layout>();
  return (mask) => {
    const old = known.get(mask);
    if (old !== undefined) return old;
    const { places, bytes } = make(mask);
    const layout = { places, bytes, all: area.subarray(0, bytes), extended: area.subarray(LEGACY_BYTES + HEADER_BYTES, bytes) };
    if (known.size >= LAYOUTS) known.clear();
    known.set(mask, layout);
    return layout;
  };
}

/** Places of the components of a compacted area; the total size is at the end. */
const compactedPlaces = remembered((xcomp) => {
  const places = new Map<number, number>();
  let at = LEGACY_BYTES + HEADER_BYTES;
  for (const { bit, bytes } of xsaveComponents) {
    if ((xcomp & (1 << bit)) === 0) continue;
    places.set(bit, at);
    at += bytes;
  }
  return { places, bytes: at };
});

const standardPlaces = remembered((mask) => {
  const places = new Map<number, number>();
  let end = LEGACY_BYTES + HEADER_BYTES;
  for (const { bit, offset, bytes } of xsaveComponents) {
    if ((mask & (1 << bit)) === 0) continue;
    places.set(bit, offset);
    end = offset + bytes;
  }
  return { places, bytes: end };
});

function putComponents(cpu: Vcpu, mask: number, places: ReadonlyMap<number, number>, wide: boolean): void {
  if ((mask & 1) !== 0) putX87(cpu, wide);
  if ((mask & 2) !== 0) putVectors(cpu, 160, 0);
  if ((mask & 4) !== 0) putVectors(cpu, places.get(2)!, 16);
  if ((mask & Xstate.PKRU) !== 0) {
    view.setInt32(places.get(9)!, cpu.w[PKRU]!, true);
    view.setInt32(places.get(9)! + 4, 0, true);
  }
  for (const component of quadComponents)
    if ((mask & (1 << component.number)) !== 0) putQuads(component, cpu.w, words, places.get(component.number)!);
}

/** XSAVE, XSAVEOPT (`optimize`), XSAVEC (`compact`) and XSAVES (`compact` with supervisor state). */
function save(cpu: Vcpu, insn: Readonly<Instruction>, optimize: boolean, compact: boolean, supervisor: boolean): Outcome {
  const refused = xUnavailable(cpu);
  if (refused !== null) return refused;
  if (supervisor && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  const { w } = cpu;
  const mask = requested(cpu, supervisor ? w[XCR0]! | w[XSS]! : w[XCR0]!);
  const layout = compact ? compactedPlaces(mask) : standardPlaces(mask);
  if (!locate(cpu, insn, layout.bytes, true, 64)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  const bytes = layout.all;
  if (!cpu.linear.readBytes(lo, hi, bytes, isUser(cpu))) return Outcome.FAULT;
  // XSAVEC and XSAVES write MXCSR with SSE state only, which therefore is in use when MXCSR is not what it begins with.
  const used = inUse(cpu) | (compact && w[MXCSR] !== 0x1f80 ? 2 : 0);
  const written = optimize || compact ? mask & used : mask;
  putComponents(cpu, written, layout.places, insn.operandSize === 64);
  if ((mask & 6) !== 0 && (!compact || (written & 2) !== 0)) {
    view.setInt32(24, w[MXCSR]!, true);
    view.setInt32(28, MXCSR_MASK, true);
  }
  if (compact) {
    view.setInt32(512, written, true);
    view.setInt32(516, 0, true);
    view.setInt32(520, mask, true);
    view.setUint32(524, 0x80000000, true);
    area.fill(0, 528, 576);
  } else view.setInt32(512, (view.getInt32(512, true) & ~mask) | (mask & used), true);
  if (!cpu.linear.writeBytes(lo, hi, bytes, isUser(cpu))) return Outcome.FAULT;
  if (supervisor) for (const component of quadComponents) if ((mask & (1 << component.number)) !== 0) component.saved?.(cpu);
  return Outcome.NEXT;
}

export const XSAVE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => save(cpu, insn, false, false, false);
export const XSAVEOPT = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => save(cpu, insn, true, false, false);
export const XSAVEC = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => save(cpu, insn, true, true, false);
export function XSAVES(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.w[CPL] === 0 && cpu.intercepted('XSAVES', insn.length)) return Outcome.JUMPED;
  return save(cpu, insn, true, true, true);
}

/** Checks the header of an area in memory (SDM Vol. 1, "Operation of XRSTOR"): false means #GP. */
function headerIsGood(xstate: number, xcomp: number, compacted: boolean, allowed: number): boolean {
  if (view.getInt32(516, true) !== 0) return false;
  // Standard form: bytes 8-23 of the header; compacted: 16-63.
  const [first, end] = compacted ? [528, 576] : [520, 536];
  for (let i = first; i < end; i += 4) if (view.getInt32(i, true) !== 0) return false;
  if (!compacted) return (xstate & ~allowed) === 0;
  return (view.getInt32(524, true) & 0x7fffffff) === 0 && (xcomp & ~allowed) === 0 && (xstate & ~xcomp) === 0;
}

function restoreComponents(cpu: Vcpu, mask: number, present: number, places: ReadonlyMap<number, number>, wide: boolean): void {
  const { w } = cpu;
  // What was asked for is either in the image or goes to its initial state.
  const taken = mask & present;
  const cleared = mask & ~present;
  if ((taken & 1) !== 0) takeX87(cpu, wide);
  if ((cleared & 1) !== 0) clearX87(cpu);
  if ((taken & 2) !== 0) takeVectors(cpu, 160, 0);
  if ((cleared & 2) !== 0) clearVectors(cpu, 0);
  if ((taken & 4) !== 0) takeVectors(cpu, places.get(2)!, 16);
  if ((cleared & 4) !== 0) clearVectors(cpu, 16);
  if ((mask & Xstate.PKRU) !== 0) {
    w[PKRU] = (present & Xstate.PKRU) !== 0 ? view.getInt32(places.get(9)!, true) : 0;
    cpu.mmu.setContext();
  }
  for (const component of quadComponents) {
    const bit = 1 << component.number;
    if ((taken & bit) !== 0) takeQuads(component, cpu, words, places.get(component.number)!);
    if ((cleared & bit) !== 0) clearQuads(component, cpu);
  }
}

/** XRSTOR, and XRSTORS with supervisor state. */
function restore(cpu: Vcpu, insn: Readonly<Instruction>, supervisor: boolean): Outcome {
  const refused = xUnavailable(cpu);
  if (refused !== null) return refused;
  if (supervisor && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  const { w } = cpu;
  const allowed = supervisor ? w[XCR0]! | w[XSS]! : w[XCR0]!;
  const mask = requested(cpu, allowed);
  if (!locate(cpu, insn, LEGACY_BYTES + HEADER_BYTES, false, 64)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  if (!cpu.linear.readBytes(lo, hi, legacyAndHeader, isUser(cpu))) return Outcome.FAULT;
  const xstate = view.getInt32(512, true);
  const xcomp = view.getInt32(520, true);
  const compacted = (view.getInt32(524, true) & 0x80000000) !== 0;
  if ((supervisor && !compacted) || (compacted && !cpu.features.xsavec) || !headerIsGood(xstate, xcomp, compacted, allowed))
    return cpu.raise(Vector.GP, 0);
  const layout = compacted ? compactedPlaces(xcomp) : standardPlaces(mask & xstate);
  if (layout.bytes > 576) {
    const at = (lo + 576) | 0;
    if (!cpu.linear.readBytes(at, (hi + (at >>> 0 < 576 ? 1 : 0)) | 0, layout.extended, isUser(cpu))) return Outcome.FAULT;
  }
  const loadsMxcsr = compacted ? (mask & xstate & 2) !== 0 : (mask & 6) !== 0;
  const mxcsr = view.getInt32(24, true);
  if (loadsMxcsr && (mxcsr & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  for (const component of quadComponents) {
    const { number } = component;
    if ((mask & xstate & (1 << number)) !== 0 && !areQuadsGood(component, cpu, words, layout.places.get(number)!)) return cpu.raise(Vector.GP, 0);
  }
  restoreComponents(cpu, mask, xstate, layout.places, insn.operandSize === 64);
  if (loadsMxcsr) w[MXCSR] = mxcsr;
  else if (compacted && (mask & 2) !== 0) w[MXCSR] = 0x1f80;
  return Outcome.NEXT;
}

export const XRSTOR = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => restore(cpu, insn, false);
export function XRSTORS(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.w[CPL] === 0 && cpu.intercepted('XRSTORS', insn.length)) return Outcome.JUMPED;
  return restore(cpu, insn, true);
}

/** Loads MXCSR; reserved bits are #GP. */
export function LDMXCSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!dataAddress(cpu, insn, 4, false)) return Outcome.FAULT;
  const value = cpu.linear.read32(cpu.lo, cpu.hi, isUser(cpu));
  if (value < 0) return Outcome.FAULT;
  if ((value & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  cpu.w[MXCSR] = value;
  return Outcome.NEXT;
}

/** Stores MXCSR. */
export function STMXCSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (!dataAddress(cpu, insn, 4, true)) return Outcome.FAULT;
  return cpu.linear.write32(cpu.lo, cpu.hi, cpu.w[MXCSR]!, isUser(cpu)) ? Outcome.NEXT : Outcome.FAULT;
}
