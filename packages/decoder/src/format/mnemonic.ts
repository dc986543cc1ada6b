import type { Mnemonic } from '@nestvm/isa';
import type { Instruction } from '../instruction.js';

type Namer = (insn: Readonly<Instruction>) => string;

const bySize =
  (names: Record<16 | 32 | 64, string>): Namer =>
  (insn) =>
    names[insn.operandSize];
const withSize64 =
  (name: string): Namer =>
  (insn) =>
    insn.operandSize === 64 ? `${name}64` : name;
const dOrQ =
  (name: string): Namer =>
  (insn) =>
    name + (insn.operandSize === 64 ? 'q' : 'd');
const string =
  (name: string): Namer =>
  (insn) => {
    const isByte = insn.row.operands.some((o) => o.type === 'b');
    const widest = name === 'ins' || name === 'outs' ? 32 : 64;
    return name + (isByte ? 'b' : insn.operandSize === 16 ? 'w' : insn.operandSize === 64 && widest === 64 ? 'q' : 'd');
  };
const fixed =
  (name: string): Namer =>
  () =>
    name;

/** Where the printed name is not the row's name in lower case. */
const NAMES: Partial<Record<Mnemonic, Namer>> = {
  MOVS: string('movs'),
  CMPS: string('cmps'),
  STOS: string('stos'),
  LODS: string('lods'),
  SCAS: string('scas'),
  INS: string('ins'),
  OUTS: string('outs'),
  CBW: bySize({ 16: 'cbw', 32: 'cwde', 64: 'cdqe' }),
  CWD: bySize({ 16: 'cwd', 32: 'cdq', 64: 'cqo' }),
  PUSHF: bySize({ 16: 'pushf', 32: 'pushfd', 64: 'pushfq' }),
  POPF: bySize({ 16: 'popf', 32: 'popfd', 64: 'popfq' }),
  IRET: bySize({ 16: 'iret', 32: 'iretd', 64: 'iretq' }),
  PUSHA: bySize({ 16: 'pusha', 32: 'pushad', 64: 'pushad' }),
  POPA: bySize({ 16: 'popa', 32: 'popad', 64: 'popad' }),
  JCXZ: (insn) => ({ 16: 'jcxz', 32: 'jecxz', 64: 'jrcxz' })[insn.addressSize],
  MOV_CR: fixed('mov'),
  MOV_DR: fixed('mov'),
  MOV_SREG: fixed('mov'),
  RDMSR_IMM: fixed('rdmsr'),
  WRMSRNS_IMM: fixed('wrmsrns'),
  PUSH_SREG: fixed('push'),
  POP_SREG: fixed('pop'),
  CALLF: fixed('call'),
  JMPF: fixed('jmp'),
  XLAT: fixed('xlatb'),
  FXSAVE: withSize64('fxsave'),
  FXRSTOR: withSize64('fxrstor'),
  XSAVE: withSize64('xsave'),
  XRSTOR: withSize64('xrstor'),
  XSAVEOPT: withSize64('xsaveopt'),
  XSAVEC: withSize64('xsavec'),
  XSAVES: withSize64('xsaves'),
  XRSTORS: withSize64('xrstors'),
  RDSSP: dOrQ('rdssp'),
  INCSSP: dOrQ('incssp'),
  WRSS: dOrQ('wrss'),
  WRUSS: dOrQ('wruss'),
  SYSRET: (insn) => (insn.operandSize === 64 ? 'sysretq' : 'sysret'),
  SYSEXIT: (insn) => (insn.operandSize === 64 ? 'sysexitq' : 'sysexit'),
};

/** The printed mnemonic in lower case, with the size letters that the row leaves to the operand size. */
export function mnemonicText(insn: Readonly<Instruction>): string {
  return (NAMES[insn.row.mnemonic] ?? ((): string => insn.row.mnemonic.toLowerCase()))(insn);
}
