import type { Vcpu } from '@nestvm/cpu';
import { dataAddress, type Instruction, MODE, operandAddress, RIP, readLinear } from '@nestvm/cpu/extension';
import { Mode } from '@nestvm/isa';
import type { Vmx } from '../vmx.js';

const NO_REGISTER = 16;
const RIP_REGISTER = 17;

/** Address size as instruction information has it: 0, 1, 2 for 16, 32, 64 bits. */
export const addressSizeCode = (insn: Readonly<Instruction>): number => insn.addressSize >>> 5;

/** Scaling, address size, segment, index and base of a memory operand, where all formats of instruction information have them. */
function memoryInformation(insn: Readonly<Instruction>): number {
  let bits = (addressSizeCode(insn) << 7) | (insn.segment << 15);
  bits |= insn.index < NO_REGISTER ? insn.scale | (insn.index << 18) : 1 << 22;
  bits |= insn.base < NO_REGISTER ? insn.base << 23 : 1 << 27;
  return bits;
}

/** Format of INVEPT, INVPCID, INVVPID, VMREAD and VMWRITE, and with `register2` zero of VMCLEAR and its like (SDM Vol. 3, "Information for VM Exits Due to Instruction Execution"). */
export function operandInformation(insn: Readonly<Instruction>, register2: number): number {
  const first = insn.mod === 3 ? (1 << 10) | (insn.rm << 3) : memoryInformation(insn);
  return first | (register2 << 28);
}

/** The displacement of the memory operand as exit qualifications have it, into `cpu.lo`/`cpu.hi`: sign-extended; of a RIP-relative address the whole address. */
export function displacement(cpu: Vcpu, insn: Readonly<Instruction>): void {
  cpu.lo = insn.mod === 3 ? 0 : insn.displacement | 0;
  cpu.hi = cpu.lo >> 31;
  if (insn.mod === 3 || insn.base !== RIP_REGISTER) return;
  const { w } = cpu;
  const next = (w[RIP]! >>> 0) + insn.length;
  const sum = (next >>> 0) + (cpu.lo >>> 0);
  cpu.hi = (w[RIP + 1]! + cpu.hi + (next > 0xffffffff ? 1 : 0) + (sum > 0xffffffff ? 1 : 0)) | 0;
  cpu.lo = sum | 0;
}

/** Reads the m64 operand that holds a physical address: the address, -1 after a fault, -2 when it is misaligned or too wide for the processor. */
export function readPhysicalPointer(vmx: Vmx, insn: Readonly<Instruction>): number {
  const { cpu } = vmx;
  if (!dataAddress(cpu, insn, 8, false) || !readLinear(cpu, cpu.lo, cpu.hi, 64)) return -1;
  if ((cpu.lo & 0xfff) !== 0 || (cpu.hi & vmx.capabilities.reservedPhysicalHi) !== 0) return -2;
  return cpu.hi * 4294967296 + (cpu.lo >>> 0);
}

/** Reads a 128-bit descriptor into `target`: four int32 words; false after a fault. */
export function readDescriptor(cpu: Vcpu, insn: Readonly<Instruction>, target: Int32Array): boolean {
  if (!operandAddress(cpu, insn, 16, false)) return false;
  const { lo, hi } = cpu;
  if (!readLinear(cpu, lo, hi, 64)) return false;
  target[0] = cpu.lo;
  target[1] = cpu.hi;
  const upper = (lo + 8) | 0;
  const long = (cpu.w[MODE]! & Mode.LONG) !== 0;
  if (!readLinear(cpu, upper, long && upper >>> 0 < 8 ? (hi + 1) | 0 : hi, 64)) return false;
  target[2] = cpu.lo;
  target[3] = cpu.hi;
  return true;
}
