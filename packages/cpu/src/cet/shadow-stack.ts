import { Mode, Vector } from '@nestvm/isa';
import { isCanonical } from '../mode.js';
import { Access } from '../ports/translation.js';
import type { Vcpu } from '../vcpu.js';
import { MODE, SSP } from '../words.js';

/**
 * A shadow-stack pointer that moves apart from SSP: only `commit` changes the register, so that a fault half-way leaves the CPU as it was
 * (SDM Vol. 1, "Shadow Stacks").
 */
export class ShadowCursor {
  lo = 0;
  hi = 0;
  private user = false;
  private wide = false;
  private readonly cpu: Vcpu;

  constructor(cpu: Vcpu) {
    this.cpu = cpu;
  }

  /** Starts at SSP, on a shadow stack of level `cpl`. */
  open(cpl: number): void {
    this.openAt(this.cpu.w[SSP]!, this.cpu.w[SSP + 1]!, cpl, (this.cpu.w[MODE]! & Mode.LONG) !== 0);
  }

  /** Starts at a pointer; `wide` in 64-bit mode, or on the way there: otherwise it has 32 bits. */
  openAt(lo: number, hi: number, cpl: number, wide: boolean): void {
    this.lo = lo;
    this.hi = hi;
    this.user = cpl === 3;
    this.wide = wide;
  }

  get isAligned(): boolean {
    return (this.lo & 7) === 0;
  }

  /** Moves by a signed number of bytes. */
  move(distance: number): void {
    const lo = (this.lo + distance) | 0;
    if (!this.wide) this.hi = 0;
    else if (distance < 0) this.hi = (this.hi - (lo >>> 0 > this.lo >>> 0 ? 1 : 0)) | 0;
    else this.hi = (this.hi + (lo >>> 0 < this.lo >>> 0 ? 1 : 0)) | 0;
    this.lo = lo;
  }

  /** Reads 4 or 8 bytes into `cpu.lo`/`cpu.hi`; false when a fault was recorded. */
  read(bytes: number): boolean {
    const { cpu } = this;
    if (!this.check()) return false;
    const memory = cpu.shadowMemory;
    if (bytes === 8) {
      if (!memory.read64(this.lo, this.hi, this.user)) return false;
      cpu.lo = memory.lo;
      cpu.hi = memory.hi;
      return true;
    }
    const value = memory.read32(this.lo, this.hi, this.user);
    if (value < 0) return false;
    cpu.lo = value | 0;
    cpu.hi = 0;
    return true;
  }

  /** Writes 4 or 8 bytes; false when a fault was recorded. */
  write(bytes: number, lo: number, hi: number): boolean {
    if (!this.check()) return false;
    const memory = this.cpu.shadowMemory;
    return bytes === 8 ? memory.write64(this.lo, this.hi, lo, hi, this.user) : memory.write32(this.lo, this.hi, lo, this.user);
  }

  push(bytes: number, lo: number, hi: number): boolean {
    this.move(-bytes);
    return this.write(bytes, lo, hi);
  }

  /** Pops into `cpu.lo`/`cpu.hi`. */
  pop(bytes: number): boolean {
    if (!this.read(bytes)) return false;
    this.move(bytes);
    return true;
  }

  /** Makes sure that 8 bytes may be written, for a change that comes later. */
  probe(): boolean {
    return this.check() && this.cpu.shadowMemory.probeRange(this.lo, this.hi, 8, Access.WRITE, this.user);
  }

  /**
   * Replaces the 8 bytes here, if they are `expected`, by `next`, in one step: 1 done, 0 they are others, -1 a fault was recorded. What is there is read as for writing.
   */
  exchange(expectedLo: number, expectedHi: number, nextLo: number, nextHi: number): 1 | 0 | -1 {
    const { cpu } = this;
    if (!this.probe() || !this.read(8)) return -1;
    if (cpu.lo !== expectedLo || cpu.hi !== expectedHi) return 0;
    return this.write(8, nextLo, nextHi) ? 1 : -1;
  }

  /** Makes SSP what the cursor is. */
  commit(): void {
    const w = this.cpu.w;
    w[SSP] = this.lo;
    w[SSP + 1] = this.hi;
  }

  private check(): boolean {
    return !this.wide || isCanonical(this.cpu, this.hi) ? true : this.cpu.fail(Vector.GP, 0);
  }
}
