import type { Instruction } from '@nestvm/decoder';
import { dataAddress } from './address.js';
import type { Vcpu } from './vcpu.js';
import { CPL, GPR } from './words.js';

/** True when the operand that ModRM's rm field names is a register. */
export const isRegisterForm = (insn: Readonly<Instruction>): boolean => insn.mod === 3;

/**
 * Reads the r/m operand of `bits` (8: legacy byte registers are not handled here) into `cpu.lo`/`cpu.hi`, zero-extended; false when a fault was recorded.
 */
export function readRm(cpu: Vcpu, insn: Readonly<Instruction>, bits: number): boolean {
  const w = cpu.w;
  if (isRegisterForm(insn)) {
    cpu.lo = w[GPR + 2 * insn.rm]!;
    cpu.hi = bits === 64 ? w[GPR + 2 * insn.rm + 1]! : 0;
    if (bits === 16) cpu.lo &= 0xffff;
    return true;
  }
  if (!dataAddress(cpu, insn, bits >>> 3, false)) return false;
  return readLinear(cpu, cpu.lo, cpu.hi, bits);
}

/** Reads `bits` of data at a linear address with the program's privilege into `cpu.lo`/`cpu.hi`. */
export function readLinear(cpu: Vcpu, lo: number, hi: number, bits: number): boolean {
  const user = cpu.w[CPL] === 3;
  const linear = cpu.linear;
  if (bits === 64) {
    if (!linear.read64(lo, hi, user)) return false;
    cpu.lo = linear.lo;
    cpu.hi = linear.hi;
    return true;
  }
  const value = bits === 32 ? linear.read32(lo, hi, user) : bits === 16 ? linear.read16(lo, hi, user) : linear.read8(lo, hi, user);
  if (value < 0) return false;
  cpu.lo = value | 0;
  cpu.hi = 0;
  return true;
}

/** Writes `bits` of data at a linear address with the program's privilege. */
export function writeLinear(cpu: Vcpu, lo: number, hi: number, bits: number, valueLo: number, valueHi: number): boolean {
  const user = cpu.w[CPL] === 3;
  const linear = cpu.linear;
  if (bits === 64) return linear.write64(lo, hi, valueLo, valueHi, user);
  if (bits === 32) return linear.write32(lo, hi, valueLo, user);
  return bits === 16 ? linear.write16(lo, hi, valueLo, user) : linear.write8(lo, hi, valueLo, user);
}

/** Writes a general register at 16, 32 (zero-extending) or 64 bits. */
export function writeGpr(cpu: Vcpu, register: number, bits: number, lo: number, hi: number): void {
  const w = cpu.w;
  const at = GPR + 2 * register;
  if (bits === 16) w[at] = (w[at]! & ~0xffff) | (lo & 0xffff);
  else {
    w[at] = lo;
    w[at + 1] = bits === 64 ? hi : 0;
  }
}

/** Writes the r/m operand; a register keeps its upper part at 16 bits. False when a fault was recorded. */
export function writeRm(cpu: Vcpu, insn: Readonly<Instruction>, bits: number, lo: number, hi: number): boolean {
  if (isRegisterForm(insn)) {
    writeGpr(cpu, insn.rm, bits, lo, hi);
    return true;
  }
  if (!dataAddress(cpu, insn, bits >>> 3, true)) return false;
  return writeLinear(cpu, cpu.lo, cpu.hi, bits, lo, hi);
}
