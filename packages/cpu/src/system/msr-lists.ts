import type { Instruction } from '@nestvm/decoder';
import { Segment, Vector } from '@nestvm/isa';
import { segmentAddress } from '../address.js';
import { readLinear, writeLinear } from '../operands.js';
import { Outcome } from '../outcome.js';
import { ListedWrite } from '../ports/virtualization.js';
import type { Vcpu } from '../vcpu.js';
import { GPR, GUEST_MODE } from '../words.js';

const RCX = GPR + 2;
const RSI = GPR + 12;
const RDI = GPR + 14;

/** Number of the lowest bit that is set in RCX; 64 when none is. */
function lowest(cpu: Vcpu): number {
  const lo = cpu.w[RCX]!;
  const hi = cpu.w[RCX + 1]!;
  if (lo !== 0) return 31 - Math.clz32(lo & -lo);
  return hi === 0 ? 64 : 63 - Math.clz32(hi & -hi);
}

/** Linear address of an entry of the table that a register points to, into `cpu.lo`/`cpu.hi`; false when #GP was recorded. */
function entryAt(cpu: Vcpu, register: number, index: number, write: boolean): boolean {
  const { w } = cpu;
  const lo = (w[register]! + 8 * index) | 0;
  const hi = (w[register + 1]! + (lo >>> 0 < w[register]! >>> 0 ? 1 : 0)) | 0;
  return segmentAddress(cpu, Segment.DS, lo, hi, 8, write);
}

function writeRegister(cpu: Vcpu, msr: number, lo: number, hi: number): Outcome {
  if (cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.writeListedMsr !== undefined) {
    cpu.lo = lo;
    cpu.hi = hi;
    const written = cpu.virtualization.writeListedMsr(cpu, msr);
    if (written !== ListedWrite.PLAIN) return written === ListedWrite.DONE ? Outcome.NEXT : Outcome.FAULT;
  }
  return cpu.msrs.write(msr, lo, hi) ? Outcome.NEXT : cpu.raise(Vector.GP, 0);
}

/** One register of the list: its outcome, or NEXT when the next one may follow. */
function transfer(cpu: Vcpu, insn: Readonly<Instruction>, index: number, write: boolean): Outcome {
  if (!entryAt(cpu, RSI, index, false) || !readLinear(cpu, cpu.lo, cpu.hi, 64)) return Outcome.FAULT;
  const msr = cpu.lo >>> 0;
  if (cpu.hi !== 0) return cpu.raise(Vector.GP, 0);
  if (!entryAt(cpu, RDI, index, !write)) return Outcome.FAULT;
  const { lo, hi } = cpu;
  if (write) {
    if (!readLinear(cpu, lo, hi, 64)) return Outcome.FAULT;
    const value = [cpu.lo, cpu.hi] as const;
    if (cpu.intercepted('WRMSRLIST', insn.length, msr, true)) return Outcome.JUMPED;
    return writeRegister(cpu, msr, ...value);
  }
  if (cpu.intercepted('RDMSRLIST', insn.length, msr)) return Outcome.JUMPED;
  const virtual = cpu.w[GUEST_MODE] !== 0 && cpu.virtualization?.readListedMsr?.(cpu, msr) === true;
  if (!virtual && !cpu.msrs.read(msr)) return cpu.raise(Vector.GP, 0);
  return writeLinear(cpu, lo, hi, 64, cpu.lo, cpu.hi) ? Outcome.NEXT : Outcome.FAULT;
}

/** Goes through the registers whose bits RCX has, lowest first, and clears each bit when its register is done; events may come in between. */
function run(cpu: Vcpu, insn: Readonly<Instruction>, write: boolean): Outcome {
  const { w } = cpu;
  if (((w[RSI]! | w[RDI]!) & 7) !== 0) return cpu.raise(Vector.GP, 0);
  for (let index = lowest(cpu); index < 64; index = lowest(cpu)) {
    const outcome = transfer(cpu, insn, index, write);
    if (outcome !== Outcome.NEXT) return outcome;
    if (index < 32) w[RCX] = w[RCX]! & ~(1 << index);
    else w[RCX + 1] = w[RCX + 1]! & ~(1 << (index - 32));
    const last = lowest(cpu) === 64;
    if (w[GUEST_MODE] !== 0 && cpu.virtualization?.leaveList?.(cpu, insn.length, last) === true) return Outcome.JUMPED;
    if (cpu.attention !== 0 && !last) return Outcome.REPEAT;
  }
  return Outcome.NEXT;
}

/** Reads the MSRs whose indices are in the table at RSI into the table at RDI. */
export const RDMSRLIST = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => run(cpu, insn, false);

/** Writes the values in the table at RDI to the MSRs whose indices are in the table at RSI. */
export const WRMSRLIST = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => run(cpu, insn, true);
