import { Segment, Vector } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { GDTR_BASE, GDTR_LIMIT, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../words.js';

/** Bits of segment attributes (VMX access-rights format). */
export const Attribute = {
  TYPE: 0xf,
  ACCESSED: 1,
  WRITABLE: 2,
  READABLE: 2,
  EXPAND_DOWN: 4,
  CONFORMING: 4,
  CODE: 8,
  S: 1 << 4,
  DPL: 3 << 5,
  P: 1 << 7,
  L: 1 << 13,
  DB: 1 << 14,
  G: 1 << 15,
  UNUSABLE: 1 << 16,
} as const;

/** Types of system descriptors; 9, 11, 12, 14 and 15 are also the 64-bit ones in IA-32e mode. */
export const SystemType = {
  TSS16: 1,
  LDT: 2,
  TSS16_BUSY: 3,
  CALL_GATE16: 4,
  TASK_GATE: 5,
  INTERRUPT_GATE16: 6,
  TRAP_GATE16: 7,
  TSS32: 9,
  TSS32_BUSY: 11,
  CALL_GATE32: 12,
  INTERRUPT_GATE32: 14,
  TRAP_GATE32: 15,
} as const;

/** A descriptor as read from a table: its two words, for 64-bit system descriptors two more, and where it was. */
export class Descriptor {
  lo = 0;
  hi = 0;
  /** Third and fourth word of a 16-byte descriptor (base 63:32, and the must-be-zero type). */
  upper = 0;
  top = 0;
  addressLo = 0;
  addressHi = 0;

  /** Attributes in the format of `segAttributes`. */
  get attributes(): number {
    return (this.hi >>> 8) & 0xf0ff;
  }

  get dpl(): number {
    return (this.hi >>> 13) & 3;
  }

  get present(): boolean {
    return (this.hi & 0x8000) !== 0;
  }

  /** System descriptor (S clear): its type is a {@link SystemType}. */
  get isSystem(): boolean {
    return (this.hi & 0x1000) === 0;
  }

  get type(): number {
    return (this.hi >>> 8) & 15;
  }

  get isCode(): boolean {
    return (this.hi & 0x1800) === 0x1800;
  }

  get isConforming(): boolean {
    return (this.hi & 0x1c00) === 0x1c00;
  }

  /** A data segment that can be written. */
  get isWritableData(): boolean {
    return (this.hi & 0x1a00) === 0x1200;
  }

  /** A data segment, or code that can be read. */
  get isReadable(): boolean {
    return (this.hi & 0x1000) !== 0 && (this.hi & 0xa00) !== 0x800;
  }

  get isLong(): boolean {
    return (this.hi & (1 << 21)) !== 0;
  }

  get isBig(): boolean {
    return (this.hi & (1 << 22)) !== 0;
  }

  /** Base 31:0, int32. */
  get base(): number {
    return (this.lo >>> 16) | ((this.hi & 0xff) << 16) | (this.hi & 0xff000000);
  }

  /** Byte-granular limit, unsigned. */
  get limit(): number {
    const raw = (this.lo & 0xffff) | (this.hi & 0xf0000);
    return (this.hi & (1 << 23)) !== 0 ? ((raw << 12) | 0xfff) >>> 0 : raw;
  }

  /** Gates: target selector and offset 31:0. */
  get gateSelector(): number {
    return this.lo >>> 16;
  }

  get gateOffset(): number {
    return (this.lo & 0xffff) | (this.hi & 0xffff0000);
  }
}

export const isNullSelector = (selector: number): boolean => (selector & 0xfffc) === 0;

/** True when the descriptor's `bytes` are inside its table; leaves its linear address in `into`. */
function locate(cpu: Vcpu, selector: number, bytes: number, into: Descriptor): boolean {
  const w = cpu.w;
  const offset = selector & 0xfff8;
  let base = GDTR_BASE;
  let limit = w[GDTR_LIMIT]! >>> 0;
  if ((selector & 4) !== 0) {
    if ((w[SEG_ATTRIBUTES + Segment.LDTR]! & Attribute.UNUSABLE) !== 0) return false;
    base = SEG_BASE + 2 * Segment.LDTR;
    limit = w[SEG_LIMIT + Segment.LDTR]! >>> 0;
  }
  if (offset + bytes - 1 > limit) return false;
  const lo = (w[base]! + offset) | 0;
  into.addressLo = lo;
  into.addressHi = (w[base + 1]! + (lo >>> 0 < offset ? 1 : 0)) | 0;
  return true;
}

/** Reads the descriptor of a non-null selector; false: `vector` with the selector as its error code, or #PF, has been recorded. */
export function fetchDescriptor(cpu: Vcpu, selector: number, into: Descriptor, vector: number = Vector.GP): boolean {
  if (!locate(cpu, selector, 8, into)) return cpu.fail(vector, selector & 0xfffc);
  if (!cpu.tables.read64(into.addressLo, into.addressHi, false)) return false;
  into.lo = cpu.tables.lo;
  into.hi = cpu.tables.hi;
  into.upper = 0;
  into.top = 0;
  return true;
}

/** Reads words three and four of a 16-byte system descriptor that `fetchDescriptor` has found; they must be inside the table, and the upper type must be zero. */
export function fetchUpperHalf(cpu: Vcpu, selector: number, into: Descriptor, vector: number = Vector.GP): boolean {
  const { addressLo, addressHi } = into;
  if (!locate(cpu, selector, 16, into)) return cpu.fail(vector, selector & 0xfffc);
  const lo = (addressLo + 8) | 0;
  if (!cpu.tables.read64(lo, (addressHi + (lo >>> 0 < 8 ? 1 : 0)) | 0, false)) return false;
  into.upper = cpu.tables.lo;
  into.top = cpu.tables.hi;
  if ((into.top & 0x1f00) !== 0) return cpu.fail(vector, selector & 0xfffc);
  return true;
}

/** Like `fetchDescriptor`, for instructions that ask about a selector without faulting: 1 found, 0 not there, -1 #PF recorded. */
export function probeDescriptor(cpu: Vcpu, selector: number, into: Descriptor): 1 | 0 | -1 {
  if (isNullSelector(selector) || !locate(cpu, selector, 8, into)) return 0;
  if (!cpu.tables.read64(into.addressLo, into.addressHi, false)) return -1;
  into.lo = cpu.tables.lo;
  into.hi = cpu.tables.hi;
  return 1;
}

/** Writes byte 5 of a descriptor (access rights), in its table and in `descriptor`. */
export function writeAccessByte(cpu: Vcpu, descriptor: Descriptor, value: number): boolean {
  const lo = (descriptor.addressLo + 5) | 0;
  const hi = (descriptor.addressHi + (lo >>> 0 < 5 ? 1 : 0)) | 0;
  if (!cpu.tables.write8(lo, hi, value, false)) return false;
  descriptor.hi = (descriptor.hi & ~0xff00) | (value << 8);
  return true;
}

/** Sets the accessed bit of a code or data descriptor in its table unless it is set; false when that faulted. */
export function markAccessed(cpu: Vcpu, descriptor: Descriptor): boolean {
  if ((descriptor.hi & 0x100) !== 0) return true;
  return writeAccessByte(cpu, descriptor, ((descriptor.hi >>> 8) & 0xff) | 1);
}

/** Fills a segment register's visible and hidden parts. */
export function setSegment(cpu: Vcpu, segment: number, selector: number, descriptor: Descriptor): void {
  const w = cpu.w;
  cpu.h[SEG_SELECTOR + segment] = selector;
  w[SEG_ATTRIBUTES + segment] = descriptor.attributes;
  w[SEG_LIMIT + segment] = descriptor.limit;
  w[SEG_BASE + 2 * segment] = descriptor.base;
  w[SEG_BASE + 2 * segment + 1] = descriptor.upper;
}

/** Makes a segment register null: unusable, base 0, with the DPL given (SS keeps CPL there). */
export function setNullSegment(cpu: Vcpu, segment: number, selector: number, dpl = 0): void {
  const w = cpu.w;
  cpu.h[SEG_SELECTOR + segment] = selector;
  w[SEG_ATTRIBUTES + segment] = Attribute.UNUSABLE | (dpl << 5);
  w[SEG_LIMIT + segment] = 0;
  w[SEG_BASE + 2 * segment] = 0;
  w[SEG_BASE + 2 * segment + 1] = 0;
}

/** Fills a segment register with a flat segment, as SYSCALL, SYSENTER and their returns do. */
export function setFlatSegment(cpu: Vcpu, segment: number, selector: number, attributes: number): void {
  const w = cpu.w;
  cpu.h[SEG_SELECTOR + segment] = selector;
  w[SEG_ATTRIBUTES + segment] = attributes;
  w[SEG_LIMIT + segment] = -1;
  w[SEG_BASE + 2 * segment] = 0;
  w[SEG_BASE + 2 * segment + 1] = 0;
}

/** Loads a segment register in real mode: selector and base only; limit and attributes stay as they are ("unreal" mode lives on this). */
export function setRealSegment(cpu: Vcpu, segment: number, selector: number): void {
  cpu.h[SEG_SELECTOR + segment] = selector;
  cpu.w[SEG_BASE + 2 * segment] = selector << 4;
  cpu.w[SEG_BASE + 2 * segment + 1] = 0;
}

/** Loads a segment register in virtual-8086 mode: base from the selector, 64 KiB, DPL 3 data. */
export function setVirtualSegment(cpu: Vcpu, segment: number, selector: number): void {
  setRealSegment(cpu, segment, selector);
  cpu.w[SEG_LIMIT + segment] = 0xffff;
  cpu.w[SEG_ATTRIBUTES + segment] = 0xf3;
}
