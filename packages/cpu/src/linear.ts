import { Mode, Rflags, Vector } from '@nestvm/isa';
import { Access, type PhysicalAccess, SECOND_STAGE_FAULT, type Translation } from './ports/translation.js';
import type { Vcpu } from './vcpu.js';
import { CPL, MODE, RFLAGS, TLB_READ, TLB_WRITE } from './words.js';

/** Which bits of a linear page number choose its entry in a TLB table. */
export const TLB_INDEX_MASK = 0x3ff;

/** Fault "vector" of an access that the second stage of translation refused: `deliverFault` hands it to the virtualization port. */
export const SECOND_STAGE_VECTOR = 0x100;

/**
 * Guest memory by linear address, for system instructions and event delivery. Addresses are canonical int32 pairs; the caller has done segmentation.
 * `user` is the privilege of the access (see {@link Translation}). A failed access has recorded #PF: reads return -1, or false for 64 bits; writes return false
 * and have changed nothing.
 */
export class LinearMemory {
  /** Result of `read64`. */
  lo = 0;
  hi = 0;
  private readonly mmu: Translation;
  private readonly memory: PhysicalAccess;
  /** All of the arena, as words: where `window` leads to. */
  readonly words: Int32Array;
  private readonly view: DataView;
  private readonly cpu: Vcpu;
  /** Added to each access: `IMPLICIT` or `SHADOW_STACK`. */
  private readonly kind: number;
  /** Physical addresses of the bytes of the access that `locate` translated last: of its first byte, and of the second page. */
  private first = 0;
  private second = 0;

  /**
   * `kind`: 0; `IMPLICIT` for the processor's own accesses (descriptor tables, TSS), always supervisor ones that SMAP judges without RFLAGS.AC; or `SHADOW_STACK`, which
   * the TLB never answers.
   */
  constructor(cpu: Vcpu, memory: PhysicalAccess, mmu: Translation, buffer: ArrayBufferLike, kind = 0) {
    this.cpu = cpu;
    this.kind = kind;
    this.memory = memory;
    this.mmu = mmu;
    this.words = new Int32Array(buffer);
    this.view = new DataView(buffer);
  }

  read8(lo: number, hi: number, user: boolean): number {
    const hit = this.probe(TLB_READ, lo, hi, user);
    if (hit >= 0) return this.view.getUint8(hit);
    return this.translate(lo, hi, Access.READ, user) ? this.memory.read8(this.mmu.physical) : -1;
  }

  read16(lo: number, hi: number, user: boolean): number {
    if ((lo & 0xfff) > 0xffe) return this.readAcross(lo, hi, 2, user);
    const hit = this.probe(TLB_READ, lo, hi, user);
    if (hit >= 0) return this.view.getUint16(hit, true);
    return this.translate(lo, hi, Access.READ, user) ? this.memory.read16(this.mmu.physical) : -1;
  }

  /** 0 to 2^32 - 1, or -1. */
  read32(lo: number, hi: number, user: boolean): number {
    if ((lo & 0xfff) > 0xffc) return this.readAcross(lo, hi, 4, user);
    const hit = this.probe(TLB_READ, lo, hi, user);
    if (hit >= 0) return this.view.getUint32(hit, true);
    return this.translate(lo, hi, Access.READ, user) ? this.memory.read32(this.mmu.physical) >>> 0 : -1;
  }

  /** Leaves the value in `lo` and `hi` (int32). */
  read64(lo: number, hi: number, user: boolean): boolean {
    if ((lo & 0xfff) > 0xff8) return this.read64Across(lo, hi, user);
    const hit = this.probe(TLB_READ, lo, hi, user);
    if (hit >= 0) {
      this.lo = this.view.getInt32(hit, true);
      this.hi = this.view.getInt32(hit + 4, true);
      return true;
    }
    if (!this.translate(lo, hi, Access.READ, user)) return false;
    const physical = this.mmu.physical;
    this.lo = this.memory.read32(physical) | 0;
    this.hi = this.memory.read32(physical + 4) | 0;
    return true;
  }

  write8(lo: number, hi: number, value: number, user: boolean): boolean {
    const hit = this.probe(TLB_WRITE, lo, hi, user);
    if (hit >= 0) {
      this.view.setUint8(hit, value & 0xff);
      return true;
    }
    if (!this.translate(lo, hi, Access.WRITE, user)) return false;
    this.memory.write8(this.mmu.physical, value & 0xff);
    return true;
  }

  write16(lo: number, hi: number, value: number, user: boolean): boolean {
    if ((lo & 0xfff) > 0xffe) return this.writeAcross(lo, hi, 2, value, 0, user);
    const hit = this.probe(TLB_WRITE, lo, hi, user);
    if (hit >= 0) {
      this.view.setUint16(hit, value, true);
      return true;
    }
    if (!this.translate(lo, hi, Access.WRITE, user)) return false;
    this.memory.write16(this.mmu.physical, value & 0xffff);
    return true;
  }

  write32(lo: number, hi: number, value: number, user: boolean): boolean {
    if ((lo & 0xfff) > 0xffc) return this.writeAcross(lo, hi, 4, value, 0, user);
    const hit = this.probe(TLB_WRITE, lo, hi, user);
    if (hit >= 0) {
      this.view.setInt32(hit, value, true);
      return true;
    }
    if (!this.translate(lo, hi, Access.WRITE, user)) return false;
    this.memory.write32(this.mmu.physical, value >>> 0);
    return true;
  }

  write64(lo: number, hi: number, valueLo: number, valueHi: number, user: boolean): boolean {
    if ((lo & 0xfff) > 0xff8) return this.writeAcross(lo, hi, 8, valueLo, valueHi, user);
    const hit = this.probe(TLB_WRITE, lo, hi, user);
    if (hit >= 0) {
      this.view.setInt32(hit, valueLo, true);
      this.view.setInt32(hit + 4, valueHi, true);
      return true;
    }
    if (!this.translate(lo, hi, Access.WRITE, user)) return false;
    const physical = this.mmu.physical;
    this.memory.write32(physical, valueLo >>> 0);
    this.memory.write32(physical + 4, valueHi >>> 0);
    return true;
  }

  /** Makes sure that `length` bytes (at most a page) can be read or written; records #PF otherwise. Nothing is transferred. */
  probeRange(lo: number, hi: number, length: number, access: number, user: boolean): boolean {
    return this.locate(lo, hi, length, access, user);
  }

  /** Copies guest memory into `target`; false (#PF recorded) when any byte is out of reach. */
  readBytes(lo: number, hi: number, target: Uint8Array, user: boolean): boolean {
    return this.transfer(lo, hi, target, Access.READ, user);
  }

  /** Copies `source` (at most 4096 bytes) into guest memory after checking every byte; false (#PF recorded) when any is out of reach. */
  writeBytes(lo: number, hi: number, source: Uint8Array, user: boolean): boolean {
    return this.transfer(lo, hi, source, Access.WRITE, user);
  }

  /**
   * Arena offset of a range of one page of RAM that the TLB knows, so that it may be read (or written, with `Access.WRITE`) as it is. -1: it must go through
   * `readBytes` or `writeBytes`, which then teach the TLB or record why not.
   */
  window(lo: number, hi: number, length: number, access: number, user: boolean): number {
    if ((lo & 0xfff) + length > 0x1000) return -1;
    return this.probe(access === Access.WRITE ? TLB_WRITE : TLB_READ, lo, hi, user);
  }

  private transfer(lo: number, hi: number, bytes: Uint8Array, access: number, user: boolean): boolean {
    if (!this.locate(lo, hi, bytes.length, access, user)) return false;
    const inFirst = 0x1000 - (lo & 0xfff);
    if (bytes.length <= inFirst) this.move(this.first, bytes, access);
    else {
      this.move(this.first, bytes.subarray(0, inFirst), access);
      this.move(this.second, bytes.subarray(inFirst), access);
    }
    return true;
  }

  private move(address: number, bytes: Uint8Array, access: number): void {
    if (access === Access.WRITE) this.memory.write(address, bytes);
    else this.memory.read(address, bytes);
  }

  /** Translates the one or two pages of an access of at most 4096 bytes into `first` and `second`. */
  private locate(lo: number, hi: number, length: number, access: number, user: boolean): boolean {
    if (!this.translate(lo, hi, access, user)) return false;
    this.first = this.mmu.physical;
    if ((lo & 0xfff) + length <= 0x1000) return true;
    const nextLo = ((lo | 0xfff) + 1) | 0;
    // Outside of 64-bit mode linear addresses wrap at 4 GiB.
    const nextHi = nextLo === 0 && (this.cpu.w[MODE]! & Mode.LONG) !== 0 ? (hi + 1) | 0 : hi;
    if (!this.translate(nextLo, nextHi, access, user)) return false;
    this.second = this.mmu.physical;
    return true;
  }

  private byteAddress(lo: number, i: number): number {
    const inFirst = 0x1000 - (lo & 0xfff);
    return i < inFirst ? this.first + i : this.second + i - inFirst;
  }

  private readAcross(lo: number, hi: number, length: number, user: boolean): number {
    if (!this.locate(lo, hi, length, Access.READ, user)) return -1;
    let value = 0;
    for (let i = 0; i < length; i++) value |= this.memory.read8(this.byteAddress(lo, i)) << (8 * i);
    return value >>> 0;
  }

  private read64Across(lo: number, hi: number, user: boolean): boolean {
    if (!this.locate(lo, hi, 8, Access.READ, user)) return false;
    this.lo = 0;
    this.hi = 0;
    for (let i = 0; i < 4; i++) {
      this.lo |= this.memory.read8(this.byteAddress(lo, i)) << (8 * i);
      this.hi |= this.memory.read8(this.byteAddress(lo, i + 4)) << (8 * i);
    }
    return true;
  }

  private writeAcross(lo: number, hi: number, length: number, valueLo: number, valueHi: number, user: boolean): boolean {
    if (!this.locate(lo, hi, length, Access.WRITE, user)) return false;
    for (let i = 0; i < length; i++) {
      const value = i < 4 ? valueLo >>> (8 * i) : valueHi >>> (8 * (i - 4));
      this.memory.write8(this.byteAddress(lo, i), value & 0xff);
    }
    return true;
  }

  private translate(lo: number, hi: number, access: number, user: boolean): boolean {
    const { mmu, cpu } = this;
    if (mmu.translate(lo, hi, access | this.kind, user)) {
      const refused = mmu.apicAccess === true && cpu.virtualization?.apicAccess?.(cpu, 4, access) === false;
      return refused ? cpu.fail(SECOND_STAGE_VECTOR) : true;
    }
    // CR2 is written when the fault is delivered, so that a hypervisor may take it first.
    cpu.setPageFaultAddress(lo, hi);
    return mmu.fault === SECOND_STAGE_FAULT ? cpu.fail(SECOND_STAGE_VECTOR) : cpu.fail(Vector.PF, mmu.errorCode);
  }

  /** Looks into the TLB table in force, which serves accesses of the current privilege only: an arena offset, or -1. */
  private probe(table: number, lo: number, hi: number, user: boolean): number {
    const w = this.cpu.w;
    const base = w[table]!;
    if (base === 0 || user !== (w[CPL] === 3)) return -1;
    if (this.kind !== 0 && (this.kind === Access.SHADOW_STACK || (w[RFLAGS]! & Rflags.AC) !== 0)) return -1;
    const entry = ((base >>> 2) + (((lo >>> 12) & TLB_INDEX_MASK) << 2)) >>> 0;
    const tlb = this.words;
    if (tlb[entry] !== (lo & ~0xfff) || tlb[entry + 1] !== hi) return -1;
    return (lo + tlb[entry + 2]!) >>> 0;
  }
}
