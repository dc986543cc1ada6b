import type { OperandSpec } from '@nestvm/isa';
import type { Instruction } from '../instruction.js';
import { Prefix } from '../instruction.js';
import { operandBits } from '../width.js';

/** Options of the formatters. */
export interface FormatOptions {
  /** Address of the instruction: branch targets and RIP-relative operands become absolute. Without it they are relative (`.+0x10`, `[rip+0x10]`). */
  readonly rip?: bigint;
}

const MEMORY_METHODS = new Set(['E', 'M', 'Q', 'W', 'KE', 'BE', 'MV']);

/** Whether an operand is a memory operand with ModRM or moffs addressing. */
export const isMemory = (insn: Readonly<Instruction>, spec: OperandSpec): boolean =>
  spec.method === 'O' || (MEMORY_METHODS.has(spec.method) && insn.mod !== 3);

/** Hexadecimal text of the low `bits` bits. */
export const hex = (value: bigint, bits: number): string => `0x${BigInt.asUintN(bits, value).toString(16)}`;

/** Bits of an immediate as it is printed: what it is extended to. */
function immediateBits(insn: Readonly<Instruction>, spec: OperandSpec): number {
  if (spec.method === '1') return 8;
  if (spec.method === 'sI') {
    const first = insn.row.operands[0] as OperandSpec;
    return first === spec ? insn.operandSize : operandBits(insn, first);
  }
  if (spec.type === 'z') return insn.operandSize;
  return operandBits(insn, spec);
}

/** Text of an immediate operand, unsigned at the width that it is extended to. */
export function immediateText(insn: Readonly<Instruction>, spec: OperandSpec): string {
  if (spec.method === '1') return '0x1';
  const at = insn.row.operands.indexOf(spec);
  const second = at > 0 && insn.row.operands[at - 1]?.method === 'I';
  const value = second ? BigInt(insn.immediate2) : (BigInt(insn.immediateHigh) << 32n) | BigInt(insn.immediate >>> 0);
  return hex(value, immediateBits(insn, spec));
}

/** Text of a near branch target. */
export function branchText(insn: Readonly<Instruction>, options: FormatOptions): string {
  // XBEGIN's target is an address of the mode, whatever the size of its displacement.
  const width = insn.row.mnemonic === 'XBEGIN' ? Math.max(insn.mode, 32) : insn.operandSize;
  if (options.rip !== undefined) return hex(options.rip + BigInt(insn.length + insn.immediate), width);
  const delta = insn.length + insn.immediate;
  return delta < 0 ? `.-0x${(-delta).toString(16)}` : `.+0x${delta.toString(16)}`;
}

/** The segment that is printed: an override, when it is not the default one. */
export function printedSegment(insn: Readonly<Instruction>): number {
  if ((insn.prefixes & Prefix.SEGMENT) === 0 || insn.row.mnemonic === 'LEA') return -1;
  const usesStack = insn.base === 4 || insn.base === 5;
  return insn.segment === (usesStack ? 2 : 3) ? -1 : insn.segment;
}

/** LOCK and REP prefixes where they mean something, with a trailing space. */
export function prefixText(insn: Readonly<Instruction>): string {
  const { prefixes, row } = insn;
  let text = (prefixes & Prefix.LOCK) !== 0 ? 'lock ' : '';
  if (row.rep === 'none') return text;
  if ((prefixes & Prefix.REP) !== 0) text += row.rep === 'repz' ? 'repe ' : 'rep ';
  if ((prefixes & Prefix.REPNE) !== 0) text += 'repne ';
  return text;
}

const ROUNDING = ['rne-sae', 'rd-sae', 'ru-sae', 'rz-sae'];

/** EVEX rounding or SAE decoration of the register form, or nothing. */
export function roundingText(insn: Readonly<Instruction>): string {
  if (!insn.evexB || insn.mod !== 3 || insn.row.evex?.rounding === 'ignored') return '';
  return insn.row.evex?.rounding === 'sae' ? '{sae}' : `{${ROUNDING[insn.evexLL]}}`;
}

/** EVEX broadcast decoration of the memory form, or nothing. */
export function broadcastText(insn: Readonly<Instruction>, spec: OperandSpec): string {
  if (!insn.evexB || insn.mod === 3 || insn.row.evex === null) return '';
  return `{1to${operandBits(insn, spec) / (insn.row.evex.elementBytes * 8)}}`;
}
