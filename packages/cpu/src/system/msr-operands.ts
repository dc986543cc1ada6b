import type { Instruction } from '@nestvm/decoder';
import type { SensitiveEvent } from '@nestvm/isa';
import { Vector } from '@nestvm/isa';
import { writeGpr } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { GPR, USER_MSR_CONTROL } from '../words.js';

/** MSRs from here on have no bit in the bitmap of IA32_USER_MSR_CTL; its second half, from `WRITES` on, is for writing. */
const BITMAP_END = 0x4000;
const WRITES = 0x800;
const ENABLE = 1;

/** Reads MSR `index` into the register operand, which ModRM.rm names. */
function read(cpu: Vcpu, insn: Readonly<Instruction>, event: SensitiveEvent, index: number): Outcome {
  if (cpu.intercepted(event, insn.length, index)) return Outcome.JUMPED;
  if (!cpu.msrs.read(index)) return cpu.raise(Vector.GP, 0);
  writeGpr(cpu, insn.rm, 64, cpu.lo, cpu.hi);
  return Outcome.NEXT;
}

/** Writes the register operand to MSR `index`. */
function write(cpu: Vcpu, insn: Readonly<Instruction>, event: SensitiveEvent, index: number): Outcome {
  const at = GPR + 2 * insn.rm;
  if (cpu.intercepted(event, insn.length, index, true)) return Outcome.JUMPED;
  return cpu.msrs.write(index, cpu.w[at]!, cpu.w[at + 1]!) ? Outcome.NEXT : cpu.raise(Vector.GP, 0);
}

/** RDMSR of an MSR that an immediate names, to a register. */
export const RDMSR_IMM = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => read(cpu, insn, 'RDMSR_IMM', insn.immediate >>> 0);

/** WRMSRNS of a register to an MSR that an immediate names. */
export const WRMSRNS_IMM = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => write(cpu, insn, 'WRMSRNS_IMM', insn.immediate >>> 0);

/**
 * The MSR that URDMSR or UWRMSR names, by an immediate or by the register of ModRM.reg, where IA32_USER_MSR_CTL lets a program have it; -1 when a fault was recorded.
 * The bitmap is read as the supervisor's. The manual leaves it to each processor which MSRs UWRMSR may write at all; here, as in Bochs, it is what the bitmap says.
 */
function allowed(cpu: Vcpu, insn: Readonly<Instruction>, half: number): number {
  const { w } = cpu;
  if ((w[USER_MSR_CONTROL]! & ENABLE) === 0) {
    cpu.raise(Vector.UD);
    return -1;
  }
  const byRegister = insn.row.encoding === 'legacy';
  const index = (byRegister ? w[GPR + 2 * insn.reg]! : insn.immediate) >>> 0;
  if (index >= BITMAP_END || (byRegister && w[GPR + 2 * insn.reg + 1] !== 0)) {
    cpu.raise(Vector.GP, 0);
    return -1;
  }
  const byte = cpu.tables.read8((w[USER_MSR_CONTROL]! & ~0xfff) + half + (index >>> 3), w[USER_MSR_CONTROL + 1]!, false);
  if (byte < 0) return -1;
  if (((byte >>> (index & 7)) & 1) !== 0) return index;
  cpu.raise(Vector.GP, 0);
  return -1;
}

/** Reads an MSR at any privilege level, if the system software lets it (SDM Vol. 2, "URDMSR"). */
export function URDMSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const index = allowed(cpu, insn, 0);
  return index < 0 ? Outcome.FAULT : read(cpu, insn, 'URDMSR', index);
}

/** Writes one, likewise (SDM Vol. 2, "UWRMSR"). */
export function UWRMSR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const index = allowed(cpu, insn, WRITES);
  return index < 0 ? Outcome.FAULT : write(cpu, insn, 'UWRMSR', index);
}
