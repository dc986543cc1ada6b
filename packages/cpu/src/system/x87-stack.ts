import type { Instruction } from '@nestvm/decoder';
import { Vector } from '@nestvm/isa';
import { operandAddress } from '../address.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, RIP, SEG_SELECTOR, word } from '../words.js';
import { DOUBLE, Flag, type Float80, fromInteger, INDEFINITE, type Result, type Rounding, SINGLE, widen } from '../x87/float80.js';

export const FCW = word('fcw');
export const FSW = word('fsw');
export const FTOP = word('ftop');
export const FTAG = word('ftag');
export const FOP = word('fop');
export const FCS = word('fcs');
export const FDS = word('fds');
export const FIP = word('fip');
export const FDP = word('fdp');
const FPR_QUAD = word('fpr') >>> 1;
export const C0 = 0x100;
export const C1 = 0x200;
export const C2 = 0x400;
export const C3 = 0x4000;
export const ES_B = 0x8080;
const PRECOMPUTATION = Flag.IE | Flag.DE | Flag.ZE;
const PRECISION = [24, 64, 53, 64];

export type Body = (cpu: Vcpu, insn: Readonly<Instruction>) => Outcome;

export const physical = (cpu: Vcpu, i: number): number => (cpu.w[FTOP]! + i) & 7;
export const isEmpty = (cpu: Vcpu, i: number): boolean => ((cpu.w[FTAG]! >>> physical(cpu, i)) & 1) === 0;

export function readSt(cpu: Vcpu, i: number): Float80 {
  const at = FPR_QUAD + 2 * physical(cpu, i);
  const high = Number(cpu.q[at + 1]! & 0xffffn);
  return { sign: (high >>> 15) as 0 | 1, exponent: high & 0x7fff, significand: cpu.q[at]! };
}

export function writeSt(cpu: Vcpu, i: number, f: Float80): void {
  const n = physical(cpu, i);
  cpu.q[FPR_QUAD + 2 * n] = f.significand;
  cpu.q[FPR_QUAD + 2 * n + 1] = BigInt((f.sign << 15) | f.exponent);
  cpu.w[FTAG] = cpu.w[FTAG]! | (1 << n);
}

export function pop(cpu: Vcpu): void {
  cpu.w[FTAG] = cpu.w[FTAG]! & ~(1 << physical(cpu, 0));
  cpu.w[FTOP] = (cpu.w[FTOP]! + 1) & 7;
}

export const rounding = (cpu: Vcpu): Rounding => ({
  precision: PRECISION[(cpu.w[FCW]! >>> 8) & 3]!,
  control: (cpu.w[FCW]! >>> 10) & 3,
  masks: cpu.w[FCW]! & 0x3f,
});
export const control = (cpu: Vcpu): number => (cpu.w[FCW]! >>> 10) & 3;

/** Notes exceptions; true when an unmasked pre-computation one keeps the instruction from having results. */
export function raise(cpu: Vcpu, flags: number): boolean {
  const { w } = cpu;
  w[FSW] = (w[FSW]! & ~C1) | flags;
  const open = flags & ~w[FCW]! & 0x3f;
  if (open !== 0) w[FSW] = w[FSW]! | ES_B;
  return (open & PRECOMPUTATION) !== 0;
}

/** Stack underflow (an empty operand) or overflow (a full destination); true when it is unmasked. */
export const stackFault = (cpu: Vcpu, overflow: boolean): boolean => raise(cpu, Flag.IE | Flag.SF | (overflow ? C1 : 0));

/** Waits for pending exceptions, notes the instruction's address, and runs the body. */
export function waiting(body: Body, keepsPointers = false): Body {
  return (cpu, insn) => {
    const { w, h } = cpu;
    if ((w[FSW]! & 0x80) !== 0) return cpu.raise(Vector.MF);
    const outcome = body(cpu, insn);
    if (outcome === Outcome.NEXT && !keepsPointers) {
      w[FIP] = w[RIP]!;
      w[FIP + 1] = w[RIP + 1]!;
      w[FCS] = h[SEG_SELECTOR + 1]!;
      w[FOP] = ((insn.opcode & 7) << 8) | (insn.mod << 6) | ((insn.reg & 7) << 3) | (insn.rm & 7);
    }
    return outcome;
  };
}

/** Reads the memory operand's bits; null after a fault. */
export function readMemory(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number): bigint | null {
  if (!operandAddress(cpu, insn, bytes, false)) return null;
  notePointer(cpu, insn);
  const buffer = new Uint8Array(bytes);
  if (!cpu.linear.readBytes(cpu.lo, cpu.hi, buffer, cpu.w[CPL] === 3)) return null;
  return buffer.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export function writeMemory(cpu: Vcpu, insn: Readonly<Instruction>, bytes: number, bits: bigint): boolean {
  if (!operandAddress(cpu, insn, bytes, true)) return false;
  notePointer(cpu, insn);
  const buffer = Uint8Array.from({ length: bytes }, (_, i) => Number((bits >> BigInt(8 * i)) & 0xffn));
  return cpu.linear.writeBytes(cpu.lo, cpu.hi, buffer, cpu.w[CPL] === 3);
}

function notePointer(cpu: Vcpu, insn: Readonly<Instruction>): void {
  cpu.w[FDP] = cpu.lo;
  cpu.w[FDP + 1] = cpu.hi;
  cpu.w[FDS] = cpu.h[SEG_SELECTOR + insn.segment]!;
}

export const memoryType = (insn: Readonly<Instruction>): string | undefined => (insn.mod === 3 ? undefined : insn.row.operands[0]!.type);
export const INTEGER_BYTES: Readonly<Record<string, number>> = { w: 2, d: 4, q: 8 };

/** The source operand in memory as a register value; null after a fault. */
export function readSource(cpu: Vcpu, insn: Readonly<Instruction>): Result | null {
  const type = memoryType(insn)!;
  const bytes = type === 'fs' ? 4 : type === 'fd' ? 8 : type === 'ft' ? 10 : INTEGER_BYTES[type]!;
  const bits = readMemory(cpu, insn, bytes);
  if (bits === null) return null;
  if (type === 'fs') return widen(bits, SINGLE);
  if (type === 'fd') return widen(bits, DOUBLE);
  if (type === 'ft')
    return { value: { sign: Number(bits >> 79n) as 0 | 1, exponent: Number(bits >> 64n) & 0x7fff, significand: BigInt.asUintN(64, bits) }, flags: 0 };
  return { value: fromInteger(BigInt.asIntN(8 * bytes, bits)), flags: 0 };
}

/** Puts a value on the stack. */
export function push(cpu: Vcpu, result: Result): Outcome {
  if (!isEmpty(cpu, 7)) {
    if (stackFault(cpu, true)) return Outcome.NEXT;
    cpu.w[FTOP] = (cpu.w[FTOP]! + 7) & 7;
    writeSt(cpu, 0, INDEFINITE);
    return Outcome.NEXT;
  }
  if (raise(cpu, result.flags)) return Outcome.NEXT;
  cpu.w[FTOP] = (cpu.w[FTOP]! + 7) & 7;
  writeSt(cpu, 0, result.value);
  return Outcome.NEXT;
}

/** Stores to memory unless an unmasked exception forbids it. */
export function storeBits(
  cpu: Vcpu,
  insn: Readonly<Instruction>,
  bytes: number,
  result: { bits: bigint; flags: number },
  empty: boolean,
  pops: boolean,
): Outcome {
  const flags = empty ? Flag.IE | Flag.SF : result.flags;
  const forbidden = (flags & ~cpu.w[FCW]! & (PRECOMPUTATION | Flag.OE | Flag.UE)) !== 0;
  if (forbidden) {
    raise(cpu, flags & ~Flag.PE);
    return Outcome.NEXT;
  }
  if (!writeMemory(cpu, insn, bytes, result.bits)) return Outcome.FAULT;
  raise(cpu, flags);
  if (pops) pop(cpu);
  return Outcome.NEXT;
}
