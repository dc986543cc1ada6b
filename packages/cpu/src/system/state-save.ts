import type { Instruction } from '@nestvm/decoder';
import { Cr0, Cr4, Mode, Vector, Xstate } from '@nestvm/isa';
import { xsaveComponents } from '@nestvm/isa/models';
import { dataAddress, operandAddress } from '../address.js';
import { Outcome } from '../outcome.js';
import { Access } from '../ports/translation.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR0, CR4, EFER, GPR, MODE, MXCSR, PKRU, XCR0, XSS } from '../words.js';
import { quadComponents } from '../xstate/components.js';
import { clearVectors, clearX87, legacyInUse, putVectors, putX87, takeVectors, takeX87 } from '../xstate/legacy.js';
import { areQuadsGood, clearQuads, inUseBit, putQuads, takeQuads } from '../xstate/quads.js';

const MXCSR_MASK = 0x0002ffff;
const LEGACY_BYTES = 512;
const HEADER_BYTES = 64;
const AREA_BYTES = 4096;
const FFXSR = 1 << 14;
const MXCSR_INITIAL = 0x1f80;
/** The components that are lists of registers, as a mask. */
const QUADS = quadComponents.reduce((mask, { number }) => mask | (1 << number), 0);
/** Layouts of XSAVE areas that are remembered at most. */
const LAYOUTS = 64;

/** An area that is not in one page of RAM is built and read here. Never holds anything between two instructions. */
const area = new Uint8Array(AREA_BYTES);
/** The same as words, as which areas are seen everywhere: an area is such an array with the number of its first word. */
const words = new Int32Array(area.buffer);
/** Words of an area. */
const MXCSR_PLACE = 6;
const XMM_PLACE = 40;
const HEADER_PLACE = LEGACY_BYTES / 4;
const COMPACTED = 1 << 31;
/** What FXSAVE writes, and what XRSTOR reads first: parts of the area, made once. */
const legacy = area.subarray(0, LEGACY_BYTES);
const legacyAndHeader = area.subarray(0, LEGACY_BYTES + HEADER_BYTES);

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
  const wide = insn.operandSize === 64;
  const window = cpu.linear.window(lo, hi, LEGACY_BYTES, Access.WRITE, isUser(cpu));
  if (window >= 0) {
    putLegacy(cpu, cpu.linear.words, window >>> 2, wide);
    return Outcome.NEXT;
  }
  // Bytes that are not written keep what memory has.
  if (!cpu.linear.readBytes(lo, hi, legacy, isUser(cpu))) return Outcome.FAULT;
  putLegacy(cpu, words, 0, wide);
  return cpu.linear.writeBytes(lo, hi, legacy, isUser(cpu)) ? Outcome.NEXT : Outcome.FAULT;
}

function putLegacy(cpu: Vcpu, to: Int32Array, at: number, wide: boolean): void {
  putX87(cpu, to, at, wide);
  to[at + MXCSR_PLACE] = cpu.w[MXCSR]!;
  to[at + MXCSR_PLACE + 1] = MXCSR_MASK;
  if ((cpu.w[CR4]! & Cr4.OSFXSR) !== 0 && !skipsXmm(cpu)) putVectors(cpu, to, at + XMM_PLACE, 0);
}

/** Loads what FXSAVE saved. */
export function FXRSTOR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const refused = fxUnavailable(cpu);
  if (refused !== null) return refused;
  if (!locate(cpu, insn, LEGACY_BYTES, false, 16)) return Outcome.FAULT;
  if (!cpu.linear.readBytes(cpu.lo, cpu.hi, legacy, isUser(cpu))) return Outcome.FAULT;
  const sse = (cpu.w[CR4]! & Cr4.OSFXSR) !== 0;
  const mxcsr = words[MXCSR_PLACE]!;
  if (sse && (mxcsr & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  takeX87(cpu, words, 0, insn.operandSize === 64);
  if (sse) cpu.w[MXCSR] = mxcsr;
  if (sse && !skipsXmm(cpu)) takeVectors(cpu, words, XMM_PLACE, 0);
  return Outcome.NEXT;
}

/** #UD and #NM of the XSAVE family. */
function xUnavailable(cpu: Vcpu): Outcome | null {
  if ((cpu.w[CR4]! & Cr4.OSXSAVE) === 0) return cpu.raise(Vector.UD);
  return (cpu.w[CR0]! & Cr0.TS) !== 0 ? cpu.raise(Vector.NM) : null;
}

/** Components not in their initial configuration (SDM Vol. 1, "Processor Tracking of XSAVE-Managed State"). */
function inUse(cpu: Vcpu): number {
  let used = legacyInUse(cpu);
  if (cpu.w[PKRU] !== 0) used |= Xstate.PKRU;
  for (let i = 0; i < quadComponents.length; i++) used |= inUseBit(quadComponents[i]!, cpu.w);
  return used;
}

const requested = (cpu: Vcpu, mask: number): number => cpu.w[GPR]! & mask;

/** Where components are in an area: byte offsets by number, and the size of it all with the bytes themselves. */
interface Layout {
  readonly places: ReadonlyMap<number, number>;
  readonly bytes: number;
  /** All of the area. */
  readonly all: Uint8Array;
}

/** Remembers the layouts of the few masks that a guest uses. */
function remembered(make: (mask: number) => { readonly places: ReadonlyMap<number, number>; readonly bytes: number }): (mask: number) => Layout {
  const known = new Map<number, Layout>();
  return (mask) => {
    const old = known.get(mask);
    if (old !== undefined) return old;
    const { places, bytes } = make(mask);
    const layout = { places, bytes, all: area.subarray(0, bytes) };
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

function putComponents(cpu: Vcpu, mask: number, places: ReadonlyMap<number, number>, wide: boolean, to: Int32Array, at: number): void {
  if ((mask & 1) !== 0) putX87(cpu, to, at, wide);
  if ((mask & 2) !== 0) putVectors(cpu, to, at + XMM_PLACE, 0);
  if ((mask & 4) !== 0) putVectors(cpu, to, at + (places.get(2)! >>> 2), 4);
  if ((mask & Xstate.PKRU) !== 0) {
    const place = at + (places.get(9)! >>> 2);
    to[place] = cpu.w[PKRU]!;
    to[place + 1] = 0;
  }
  if ((mask & QUADS) === 0) return;
  for (const component of quadComponents)
    if ((mask & (1 << component.number)) !== 0) putQuads(component, cpu.w, to, 4 * at + places.get(component.number)!);
}

/** Writes an area that begins at word `at`: what `mask` says, all of it or without what is in its initial configuration. */
function putArea(cpu: Vcpu, layout: Layout, mask: number, form: SaveForm, wide: boolean, to: Int32Array, at: number): void {
  const { optimize, compact } = form;
  const { w } = cpu;
  // XSAVEC and XSAVES write MXCSR with SSE state only, which therefore is in use when MXCSR is not what it begins with.
  const used = inUse(cpu) | (compact && w[MXCSR] !== MXCSR_INITIAL ? 2 : 0);
  const written = optimize || compact ? mask & used : mask;
  putComponents(cpu, written, layout.places, wide, to, at);
  if ((mask & 6) !== 0 && (!compact || (written & 2) !== 0)) {
    to[at + MXCSR_PLACE] = w[MXCSR]!;
    to[at + MXCSR_PLACE + 1] = MXCSR_MASK;
  }
  const header = at + HEADER_PLACE;
  if (!compact) {
    to[header] = (to[header]! & ~mask) | (mask & used);
    return;
  }
  to[header] = written;
  to[header + 1] = 0;
  to[header + 2] = mask;
  to[header + 3] = COMPACTED;
  for (let i = 4; i < HEADER_BYTES / 4; i++) to[header + i] = 0;
}

/** What tells the instructions that save from each other: `optimize` leaves out what is in its initial configuration, `supervisor` brings IA32_XSS. */
interface SaveForm {
  readonly optimize: boolean;
  readonly compact: boolean;
  readonly supervisor: boolean;
}

function save(cpu: Vcpu, insn: Readonly<Instruction>, form: SaveForm): Outcome {
  const { compact, supervisor } = form;
  const refused = xUnavailable(cpu);
  if (refused !== null) return refused;
  if (supervisor && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  const { w, linear } = cpu;
  const mask = requested(cpu, supervisor ? w[XCR0]! | w[XSS]! : w[XCR0]!);
  const layout = compact ? compactedPlaces(mask) : standardPlaces(mask);
  if (!locate(cpu, insn, layout.bytes, true, 64)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  const wide = insn.operandSize === 64;
  const window = linear.window(lo, hi, layout.bytes, Access.WRITE, isUser(cpu));
  if (window >= 0) putArea(cpu, layout, mask, form, wide, linear.words, window >>> 2);
  else {
    const bytes = layout.all;
    if (!linear.readBytes(lo, hi, bytes, isUser(cpu))) return Outcome.FAULT;
    putArea(cpu, layout, mask, form, wide, words, 0);
    if (!linear.writeBytes(lo, hi, bytes, isUser(cpu))) return Outcome.FAULT;
  }
  if (supervisor && (mask & QUADS) !== 0) for (const component of quadComponents) if ((mask & (1 << component.number)) !== 0) component.saved?.(cpu);
  return Outcome.NEXT;
}

const forms = {
  xsave: { optimize: false, compact: false, supervisor: false },
  xsaveopt: { optimize: true, compact: false, supervisor: false },
  xsavec: { optimize: true, compact: true, supervisor: false },
  xsaves: { optimize: true, compact: true, supervisor: true },
} as const satisfies Record<string, SaveForm>;

export const XSAVE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => save(cpu, insn, forms.xsave);
export const XSAVEOPT = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => save(cpu, insn, forms.xsaveopt);
export const XSAVEC = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => save(cpu, insn, forms.xsavec);
export function XSAVES(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.w[CPL] === 0 && cpu.intercepted('XSAVES', insn.length)) return Outcome.JUMPED;
  return save(cpu, insn, forms.xsaves);
}

/** Checks the header of an area, whose first word is `header` (SDM Vol. 1, "Operation of XRSTOR"): false means #GP. */
function headerIsGood(from: Int32Array, header: number, compacted: boolean, allowed: number): boolean {
  let reserved = from[header + 1]!;
  // Standard form: bytes 8-23 of the header; compacted: 16-63.
  const [first, end] = compacted ? [4, 16] : [2, 6];
  for (let i = first; i < end; i++) reserved |= from[header + i]!;
  if (reserved !== 0) return false;
  const xstate = from[header]!;
  const xcomp = from[header + 2]!;
  if (!compacted) return (xstate & ~allowed) === 0;
  return (from[header + 3]! & ~COMPACTED) === 0 && (xcomp & ~allowed) === 0 && (xstate & ~xcomp) === 0;
}

function restoreComponents(cpu: Vcpu, mask: number, layout: Layout, wide: boolean, from: Int32Array, at: number): void {
  const { w } = cpu;
  const present = from[at + HEADER_PLACE]!;
  const { places } = layout;
  // What was asked for is either in the image or goes to its initial state.
  const taken = mask & present;
  const cleared = mask & ~present;
  if ((taken & 1) !== 0) takeX87(cpu, from, at, wide);
  if ((cleared & 1) !== 0) clearX87(cpu);
  if ((taken & 2) !== 0) takeVectors(cpu, from, at + XMM_PLACE, 0);
  if ((cleared & 2) !== 0) clearVectors(cpu, 0);
  if ((taken & 4) !== 0) takeVectors(cpu, from, at + (places.get(2)! >>> 2), 4);
  if ((cleared & 4) !== 0) clearVectors(cpu, 4);
  if ((mask & Xstate.PKRU) !== 0) {
    const pkru = (present & Xstate.PKRU) !== 0 ? from[at + (places.get(9)! >>> 2)]! : 0;
    if (pkru !== w[PKRU]) {
      w[PKRU] = pkru;
      cpu.mmu.setContext();
    }
  }
  if ((mask & QUADS) === 0) return;
  for (const component of quadComponents) {
    const bit = 1 << component.number;
    if ((taken & bit) !== 0) takeQuads(component, cpu, from, 4 * at + places.get(component.number)!);
    if ((cleared & bit) !== 0) clearQuads(component, cpu);
  }
}

/** Loads from an area, all of whose bytes that `layout` has are there. */
function take(cpu: Vcpu, insn: Readonly<Instruction>, mask: number, layout: Layout, from: Int32Array, at: number): Outcome {
  const { w } = cpu;
  const xstate = from[at + HEADER_PLACE]!;
  const compacted = (from[at + HEADER_PLACE + 3]! & COMPACTED) !== 0;
  const loadsMxcsr = compacted ? (mask & xstate & 2) !== 0 : (mask & 6) !== 0;
  const mxcsr = from[at + MXCSR_PLACE]!;
  if (loadsMxcsr && (mxcsr & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  if ((mask & xstate & QUADS) !== 0)
    for (const component of quadComponents) {
      const { number } = component;
      if ((mask & xstate & (1 << number)) !== 0 && !areQuadsGood(component, cpu, from, 4 * at + layout.places.get(number)!))
        return cpu.raise(Vector.GP, 0);
    }
  restoreComponents(cpu, mask, layout, insn.operandSize === 64, from, at);
  if (loadsMxcsr) w[MXCSR] = mxcsr;
  else if (compacted && (mask & 2) !== 0) w[MXCSR] = MXCSR_INITIAL;
  return Outcome.NEXT;
}

/** XRSTOR, and XRSTORS with supervisor state. */
function restore(cpu: Vcpu, insn: Readonly<Instruction>, supervisor: boolean): Outcome {
  const refused = xUnavailable(cpu);
  if (refused !== null) return refused;
  if (supervisor && cpu.w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  const { w, linear } = cpu;
  const allowed = supervisor ? w[XCR0]! | w[XSS]! : w[XCR0]!;
  const mask = requested(cpu, allowed);
  if (!locate(cpu, insn, LEGACY_BYTES + HEADER_BYTES, false, 64)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  const user = isUser(cpu);
  const window = linear.window(lo, hi, LEGACY_BYTES + HEADER_BYTES, Access.READ, user);
  if (window < 0 && !linear.readBytes(lo, hi, legacyAndHeader, user)) return Outcome.FAULT;
  const from = window < 0 ? words : linear.words;
  const header = HEADER_PLACE + (window < 0 ? 0 : window >>> 2);
  const compacted = (from[header + 3]! & COMPACTED) !== 0;
  if ((supervisor && !compacted) || (compacted && !cpu.features.xsavec) || !headerIsGood(from, header, compacted, allowed))
    return cpu.raise(Vector.GP, 0);
  const layout = compacted ? compactedPlaces(from[header + 2]!) : standardPlaces(mask & from[header]!);
  if (window >= 0 && (lo & 0xfff) + layout.bytes <= 0x1000) return take(cpu, insn, mask, layout, linear.words, window >>> 2);
  return linear.readBytes(lo, hi, layout.all, user) ? take(cpu, insn, mask, layout, words, 0) : Outcome.FAULT;
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
