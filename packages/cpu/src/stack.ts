import { Mode, Segment, Vector } from '@nestvm/isa';
import { isCanonical } from './mode.js';
import { Attribute, type Descriptor } from './segments/descriptor.js';
import type { Vcpu } from './vcpu.js';
import { CPL, GPR, MODE, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT } from './words.js';

const RSP = GPR + 8;

/**
 * A stack pointer that moves apart from RSP: frames are pushed or popped through it, and only `commit` changes the register,
 * so that a fault half-way leaves the CPU as it was.
 */
export class StackCursor {
  spLo = 0;
  spHi = 0;
  private long = false;
  private big = false;
  private base = 0;
  private limit = 0;
  private expandDown = false;
  private writable = true;
  private user = false;
  private aligned = false;
  private error = 0;
  private readonly cpu: Vcpu;

  constructor(cpu: Vcpu) {
    this.cpu = cpu;
  }

  /** Starts on the current stack: SS:RSP as the mode has it; limit violations raise #SS(0). */
  openCurrent(): void {
    const w = this.cpu.w;
    const mode = w[MODE]!;
    const attributes = w[SEG_ATTRIBUTES + Segment.SS]!;
    this.long = (mode & Mode.LONG) !== 0;
    this.setSegment(attributes, w[SEG_BASE + 2 * Segment.SS]!, w[SEG_LIMIT + Segment.SS]! >>> 0);
    this.writable = (mode & Mode.PROTECTED) === 0 || (attributes & Attribute.UNUSABLE) === 0;
    this.user = w[CPL] === 3;
    this.aligned = (mode & Mode.ALIGN) !== 0;
    this.error = 0;
    this.spLo = w[RSP]!;
    this.spHi = w[RSP + 1]!;
  }

  /** Starts on a stack whose SS descriptor is not loaded yet; violations raise #SS(`error`). */
  openSegment(descriptor: Descriptor, sp: number, user: boolean, error: number): void {
    this.long = false;
    this.setSegment(descriptor.attributes, descriptor.base, descriptor.limit);
    this.writable = true;
    this.aligned = false;
    this.user = user;
    this.error = error & 0xfffc;
    this.spLo = sp;
    this.spHi = 0;
  }

  /** Starts on a 64-bit stack. */
  openLong(lo: number, hi: number, user: boolean): void {
    this.long = true;
    this.aligned = false;
    this.user = user;
    this.error = 0;
    this.spLo = lo;
    this.spHi = hi;
  }

  /** Pushes 2, 4 or 8 bytes; false when a fault was recorded. */
  push(bytes: number, lo: number, hi: number): boolean {
    const linear = this.cpu.linear;
    this.move(-bytes);
    if (!this.check(0, bytes)) return false;
    const at = this.long ? this.spLo : (this.base + this.offset(0)) | 0;
    const atHi = this.long ? this.spHi : 0;
    if (this.aligned && (at & (bytes - 1)) !== 0) return this.cpu.fail(Vector.AC, 0);
    if (bytes === 8) return linear.write64(at, atHi, lo, hi, this.user);
    return bytes === 4 ? linear.write32(at, atHi, lo, this.user) : linear.write16(at, atHi, lo, this.user);
  }

  /** Pops 2, 4 or 8 bytes into `cpu.lo`/`cpu.hi`, zero-extended; false when a fault was recorded. */
  pop(bytes: number): boolean {
    if (!this.peek(0, bytes)) return false;
    this.move(bytes);
    return true;
  }

  /** Reads at a distance above the stack pointer without moving it. */
  peek(distance: number, bytes: number): boolean {
    const { cpu } = this;
    const linear = cpu.linear;
    if (!this.check(distance, bytes)) return false;
    let at = (this.base + this.offset(distance)) | 0;
    let atHi = 0;
    if (this.long) {
      at = (this.spLo + distance) | 0;
      atHi = (this.spHi + (at >>> 0 < distance ? 1 : 0)) | 0;
    }
    if (this.aligned && (at & (bytes - 1)) !== 0) return cpu.fail(Vector.AC, 0);
    if (bytes === 8) {
      if (!linear.read64(at, atHi, this.user)) return false;
      cpu.lo = linear.lo;
      cpu.hi = linear.hi;
      return true;
    }
    const value = bytes === 4 ? linear.read32(at, atHi, this.user) : linear.read16(at, atHi, this.user);
    if (value < 0) return false;
    cpu.lo = value | 0;
    cpu.hi = 0;
    return true;
  }

  /** Moves the stack pointer by a signed distance, wrapping as the stack's width does. */
  move(distance: number): void {
    if (!this.long) {
      this.spLo = this.big ? (this.spLo + distance) | 0 : (this.spLo & ~0xffff) | ((this.spLo + distance) & 0xffff);
      return;
    }
    const lo = (this.spLo + distance) | 0;
    if (distance < 0) this.spHi = (this.spHi - (lo >>> 0 > this.spLo >>> 0 ? 1 : 0)) | 0;
    else this.spHi = (this.spHi + (lo >>> 0 < this.spLo >>> 0 ? 1 : 0)) | 0;
    this.spLo = lo;
  }

  /** Makes RSP what the cursor is: 64 bits, ESP (zero-extended), or SP alone. */
  commit(): void {
    const w = this.cpu.w;
    if (this.long) {
      w[RSP] = this.spLo;
      w[RSP + 1] = this.spHi;
    } else if (this.big) {
      w[RSP] = this.spLo;
      w[RSP + 1] = 0;
    } else {
      w[RSP] = (w[RSP]! & ~0xffff) | (this.spLo & 0xffff);
    }
  }

  private setSegment(attributes: number, base: number, limit: number): void {
    this.big = (attributes & Attribute.DB) !== 0;
    this.base = base;
    this.limit = limit;
    this.expandDown = (attributes & 0x1c) === 0x14;
  }

  private offset(distance: number): number {
    const sum = this.spLo + distance;
    return this.big ? sum >>> 0 : sum & 0xffff;
  }

  private check(distance: number, bytes: number): boolean {
    if (this.long) return isCanonical(this.cpu, this.spHi) ? true : this.cpu.fail(Vector.SS, this.error);
    const start = this.offset(distance);
    const last = start + bytes - 1;
    const inside = this.expandDown ? start > this.limit && last <= (this.big ? 0xffffffff : 0xffff) : last <= this.limit;
    return inside && this.writable ? true : this.cpu.fail(Vector.SS, this.error);
  }
}
