/** A place where the rows differ from the printed opcode maps on purpose. */
export interface MapDeviation {
  /** Opcode or family. */
  readonly where: string;
  readonly printed: string;
  readonly here: string;
  readonly why: string;
}

/** Every deviation of the rows from SDM Vol. 2, Appendix A (and APM Vol. 3, Appendix A for AMD's rows). */
export const mapDeviations: readonly MapDeviation[] = [
  {
    where: 'MOVS CMPS STOS LODS SCAS INS OUTS',
    printed: 'MOVSB, MOVSW/D/Q',
    here: 'the family, with operand types',
    why: 'one meaning each; MOVSD and CMPSD are then the SSE2 instructions',
  },
  { where: '98, 99', printed: 'CBW/CWDE/CDQE, CWD/CDQ/CQO', here: 'CBW, CWD', why: 'operand size chooses; the text has all names' },
  {
    where: '0F 20-23, 8C, 8E, 06-1F, 0F A0-A9',
    printed: 'MOV, PUSH, POP',
    here: 'MOV_CR, MOV_DR, MOV_SREG, PUSH_SREG, POP_SREG',
    why: 'different instructions with their own privileges; one meaning for each mnemonic',
  },
  {
    where: 'VEX map 7, F6',
    printed: 'RDMSR, WRMSRNS',
    here: 'RDMSR_IMM, WRMSRNS_IMM',
    why: 'an MSR that an immediate names, and a register for its value; one meaning for each mnemonic',
  },
  {
    where: '9A, EA, FF /3, FF /5, CA, CB',
    printed: 'CALLF, JMPF, RETF',
    here: 'the same; CALL and JMP are near only',
    why: 'as the map prints, not as Vol. 2 lists them',
  },
  {
    where: 'Jcc SETcc CMOVcc',
    printed: 'JB/JNAE/JC and so on',
    here: 'JO JNO JB JAE JE JNE JBE JA JS JNS JP JNP JL JGE JLE JG',
    why: 'one name of each',
  },
  { where: 'C0-D3 /6', printed: 'empty (older maps: SAL)', here: 'SHL', why: 'all CPUs execute it as /4' },
  { where: 'F6 /1, F7 /1', printed: 'empty', here: 'TEST', why: 'all CPUs execute it as /0' },
  { where: '82', printed: 'empty (invalid in 64-bit mode)', here: 'as 80, invalid in 64-bit mode', why: 'CPUs execute it' },
  { where: 'D6, F1', printed: 'empty, INT1', here: 'SALC, INT1', why: 'undocumented for long, present on all CPUs' },
  {
    where: '8E, 0F 00, 0F 01 /6, 0F 02, 0F 03',
    printed: 'Ew',
    here: 'Ev/w',
    why: 'a memory operand has 16 bits, a register operand is named at operand size; the meaning takes its low 16 bits',
  },
  { where: '63 in 64-bit mode', printed: 'MOVSXD Gv, Ev', here: 'MOVSXD Gv, Ez', why: 'the source has 32 bits also with REX.W' },
  {
    where: '0F 05, 0F 07',
    printed: 'SYSCALL, SYSRET in 64-bit mode only',
    here: 'all modes',
    why: 'AMD has them outside 64-bit mode; the CPU refuses them on Intel models',
  },
  {
    where: '0F 0D',
    printed: 'prefetchw(/1)',
    here: 'PREFETCH, PREFETCHW and their reserved aliases; NOP with a register',
    why: 'AMD (APM Vol. 3, "PREFETCH"); Intel CPUs take them as hints',
  },
  {
    where: '0F 18-1F',
    printed: 'prefetch, reserved NOP, NOP',
    here: 'NOP Ev, Gv where nothing is defined',
    why: 'reserved NOPs read no memory and never fault on their operand',
  },
  { where: '0F AE /5-/7 with a register', printed: 'LFENCE, MFENCE, SFENCE at rm 0', here: 'any rm', why: 'CPUs ignore rm' },
  { where: '0F C7 /1', printed: 'CMPXCHG8B/16B', here: 'two rows by W', why: 'two CPUID features' },
  {
    where: '6E, 7E, 16, 22 of the vector maps',
    printed: 'movd/q, pextrd/q, pinsrd/q',
    here: 'two rows by W (VEX and EVEX: W counts in 64-bit mode only)',
    why: 'two mnemonics',
  },
  {
    where: 'D9 /3, DC /2-3, DD /1, DE /2, DF /0-3 with a register',
    printed: 'empty',
    here: 'FSTPNCE, FCOM, FCOMP, FXCH, FFREEP, FSTP',
    why: 'undocumented aliases that all x87 units execute',
  },
  {
    where: 'near branches in 64-bit mode',
    printed: 'f64',
    here: 'f64: 66 does not change their size',
    why: 'Intel; on AMD 66 makes them 16 bits wide',
  },
  {
    where: 'VEX and EVEX rows',
    printed: 'mixed into the legacy maps',
    here: 'maps of their own (vex.ts, evex.ts)',
    why: 'operands, lengths and features differ in nearly every row',
  },
  {
    where: 'XOP, FMA4, 3DNow!, AMX, Key Locker, FRED, SEV-SNP, TDX, AVX10',
    printed: 'in the maps or their supplements',
    here: 'absent',
    why: 'no CPU model of Nestvm offers them, so they are #UD',
  },
];
