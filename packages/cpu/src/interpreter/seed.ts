import type { OpcodeRow } from '@nestvm/isa';
import { checksTarget, packKey } from './facts.js';

const CONDITIONS = ['O', 'NO', 'B', 'AE', 'E', 'NE', 'BE', 'A', 'S', 'NS', 'P', 'NP', 'L', 'GE', 'LE', 'G'];
/** Conditions that values are selected by; jumps know all of them. */
const SELECTING = CONDITIONS.filter((c) => !/O|P/.test(c));
/** What compiled code consists of, by how often kernels and programs run it. */
const COMMON = new Set([
  'MOV',
  'ADD',
  'ADC',
  'SUB',
  'SBB',
  'AND',
  'OR',
  'XOR',
  'CMP',
  'TEST',
  'LEA',
  'MOVZX',
  'MOVSX',
  'MOVSXD',
  'SHL',
  'SHR',
  'SAR',
  'ROL',
  'ROR',
  'INC',
  'DEC',
  'NEG',
  'NOT',
  'IMUL',
  'MUL',
  'DIV',
  'PUSH',
  'POP',
  'CALL',
  'RET',
  'JMP',
  'NOP',
  'XCHG',
  'XADD',
  'CMPXCHG',
  'BT',
  'BTS',
  'BTR',
  'CBW',
  'CWD',
  'BSWAP',
  'LEAVE',
  'BSF',
  'BSR',
  'SHRD',
  'SHLD',
  'CLD',
  'LFENCE',
  'MFENCE',
  'ENDBR64',
  'PREFETCHT0',
  'PREFETCHW',
  'POPCNT',
  'TZCNT',
  'CLI',
  'STI',
  'PUSHF',
  'POPF',
  'STAC',
  'CLAC',
  'SWAPGS',
  'SYSCALL',
  'SYSRET',
  'IRET',
  'MOV_CR',
  'MOV_SREG',
  'RDTSC',
  'RDTSCP',
  'RDPKRU',
  'RDFSBASE',
  'RDGSBASE',
  'WRFSBASE',
  'WRGSBASE',
  'LDMXCSR',
  'STMXCSR',
  'PAUSE',
  'SFENCE',
  'CMPXCHG16B',
  'IDIV',
  'BTC',
  'STD',
  'MOVBE',
  'RDMSR',
  'WRMSR',
  'INVLPG',
  'LGDT',
  'SGDT',
  'SERIALIZE',
  'FNINIT',
  'FNSTSW',
  'FNSTCW',
  'FWAIT',
  ...CONDITIONS.map((c) => `J${c}`),
  ...SELECTING.map((c) => `CMOV${c}`),
  ...SELECTING.map((c) => `SET${c}`),
]);
/** Of those, what compilers also write with an index; and what they hardly ever do to memory. */
const INDEXED = new Set([
  'MOV',
  'MOVZX',
  'MOVSX',
  'MOVSXD',
  'LEA',
  'ADD',
  'SUB',
  'AND',
  'OR',
  'XOR',
  'CMP',
  'TEST',
  'INC',
  'DEC',
  'CALL',
  'JMP',
  'NOP',
  'XADD',
  'CMPXCHG',
  'IMUL',
  'XCHG',
  'BT',
  'BTS',
  'BSR',
  'MOVBE',
  'PREFETCHT0',
  'PREFETCHW',
  'CMOVE',
  'CMOVNE',
  'SETE',
  'SETNE',
]);
const IN_REGISTERS = new Set(['SHL', 'SHR', 'SAR', 'ROL', 'ROR', 'SHLD', 'SHRD']);
/** Opcodes of NOP that assemblers pad with; the others are hints to come. */
const PADDING = new Set([0x90, 0x1f]);
/** Of those, what kernels do to per-CPU data (through FS and GS), and in 16 bits. */
const PLAIN = new Set(
  'MOV ADD SUB AND OR XOR CMP TEST INC DEC MOVZX MOVSX PUSH XADD CMPXCHG CMPXCHG16B SBB ROL SHL SHR SAR CMOVE CMOVNE NOP MOV_SREG'.split(' '),
);
/** Rows that kernels repeat with REP. */
const REPEATED = new Set(['MOVS', 'STOS', 'CMPS']);
const SIZED = new Set(['v', 'z', 'y']);
/** Operands in MMX registers, which hardly anybody uses. */
const isMmx = ({ method }: { readonly method: string }): boolean => method === 'P' || method === 'Q' || method === 'N';

/** What C libraries move and search memory with, and programs compute with now and then. */
const VECTOR = new Set(
  [
    'MOVUPS MOVAPS MOVDQU MOVDQA MOVQ MOVD MOVHPS MOVSD PXOR POR PCMPEQB PCMPEQD PMOVMSKB PMINUB PUNPCKLBW PUNPCKLWD PUNPCKLDQ PUNPCKLQDQ PADDQ',
    'PADDD PSHUFB PSHUFD PSLLD PSRLD PCMPISTRI ADDSD SUBSD MULSD UCOMISD CVTSI2SD',
    'VMOVDQU VMOVDQA VMOVD VMOVQ VPXOR VPOR VPANDN VPADDB VPCMPEQB VPCMPGTB VPMOVMSKB VPBROADCASTB VZEROUPPER',
  ].flatMap((names) => names.split(' ')),
);

/** Sizes that make a difference for a row: byte instructions and 64-bit defaults have one. */
function sizesOf(row: OpcodeRow): readonly (32 | 64)[] {
  if (row.mode64 === 'force64' || row.mode64 === 'default64') return [64];
  return row.operands.length === 0 || row.operands.some((o) => SIZED.has(o.type) || o.method === 'rAX') ? [32, 64] : [32];
}

/** Forms of a row in plain 64-bit code. */
function formsOf(row: OpcodeRow): number[] {
  const { id } = row;
  if (REPEATED.has(row.mnemonic)) return sizesOf(row).flatMap((operandSize) => [0, 1].map((rep) => packKey({ id, operandSize, memory: true, rep })));
  const either = row.operands.some((o) => o.method === 'E');
  const always = row.operands.some((o) => o.method === 'M' || o.method === 'O');
  const inMemory = always || (either && !IN_REGISTERS.has(row.mnemonic));
  const indices = INDEXED.has(row.mnemonic) ? [false, true] : [false];
  const keys: number[] = [];
  const widths = checksTarget(row) ? [false, true] : [false];
  for (const operandSize of sizesOf(row)) {
    for (const la57 of widths) {
      if (!always) keys.push(packKey({ id, operandSize, memory: false, la57 }));
      if (inMemory) keys.push(...indices.map((indexed) => packKey({ id, operandSize, memory: true, indexed, la57 })));
    }
    if (inMemory && PLAIN.has(row.mnemonic)) keys.push(...indices.map((indexed) => packKey({ id, operandSize, memory: true, based: true, indexed })));
  }
  if (PLAIN.has(row.mnemonic) && row.operands.some((o) => o.type === 'v' || o.method === 'rAX')) {
    if (!always) keys.push(packKey({ id, operandSize: 16, memory: false }));
    if (inMemory) keys.push(...indices.map((indexed) => packKey({ id, operandSize: 16, memory: true, indexed })));
    if (inMemory) keys.push(packKey({ id, operandSize: 16, memory: true, based: true }));
  }
  return keys;
}

/** Forms of a row that works on vector registers. */
function vectorFormsOf(row: OpcodeRow): number[] {
  const { id } = row;
  const lengths = row.encoding === 'legacy' ? [128 as const] : ([128, 256] as const).filter((n) => row.vectorLength === 0 || row.vectorLength === n);
  const either = row.operands.some((o) => o.method === 'W' || o.method === 'E');
  const always = row.operands.some((o) => o.method === 'M');
  return lengths.flatMap((vectorLength) =>
    sizesOf(row).flatMap((operandSize) => [
      ...(always ? [] : [packKey({ id, operandSize, memory: false, vectorLength })]),
      ...(always || either ? [false, true].map((indexed) => packKey({ id, operandSize, memory: true, indexed, vectorLength })) : []),
    ]),
  );
}

/**
 * Keys of the handlers that 64-bit code needs most. They are compiled together at the start: few large modules start faster, and run faster,
 * than many small ones.
 */
export function seedKeys(rows: readonly OpcodeRow[]): number[] {
  const wanted = rows.filter(
    (row) =>
      row.encoding === 'legacy' &&
      row.mode64 !== 'invalid' &&
      (COMMON.has(row.mnemonic) || REPEATED.has(row.mnemonic)) &&
      (row.mnemonic !== 'NOP' || PADDING.has(row.code.opcode)),
  );
  const vectors = rows.filter((row) => row.encoding !== 'evex' && row.mode64 !== 'invalid' && VECTOR.has(row.mnemonic) && !row.operands.some(isMmx));
  return [...new Set([...wanted.flatMap(formsOf), ...vectors.flatMap(vectorFormsOf)])];
}
