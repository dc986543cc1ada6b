import type { Mnemonic, OpcodeRow } from '@nestvm/isa';
import { opcodeRows } from '@nestvm/isa';

/** Rows that a name in text stands for, and what the name says about sizes. */
export interface NamedRows {
  readonly rows: readonly OpcodeRow[];
  /** Operand size that the name fixes, 0 none. */
  readonly operandSize: 0 | 16 | 32 | 64;
  /** Address size that the name fixes (JCXZ), 0 none. */
  readonly addressSize: 0 | 16 | 32 | 64;
}

type Sizes = Record<string, 0 | 16 | 32 | 64>;

/** Names that say an operand size, by mnemonic (SDM Vol. 2, each instruction's table); 0 where an operand says it as well. */
const SIZED: Partial<Record<Mnemonic, Sizes>> = {
  CBW: { cbw: 16, cwde: 32, cdqe: 64 },
  CWD: { cwd: 16, cdq: 32, cqo: 64 },
  PUSHF: { pushf: 16, pushfd: 32, pushfq: 64 },
  POPF: { popf: 16, popfd: 32, popfq: 64 },
  IRET: { iret: 16, iretd: 32, iretq: 64 },
  PUSHA: { pusha: 16, pushad: 32 },
  POPA: { popa: 16, popad: 32 },
  RETF: { retfw: 16, retfd: 32, retfq: 64 },
  RDSSP: { rdsspd: 0, rdsspq: 0 },
  INCSSP: { incsspd: 0, incsspq: 0 },
  WRSS: { wrssd: 0, wrssq: 0 },
  WRUSS: { wrussd: 0, wrussq: 0 },
  SYSRET: { sysretq: 64 },
  SYSEXIT: { sysexitq: 64 },
  FXSAVE: { fxsave64: 64 },
  FXRSTOR: { fxrstor64: 64 },
  XSAVE: { xsave64: 64 },
  XRSTOR: { xrstor64: 64 },
  XSAVEOPT: { xsaveopt64: 64 },
  XSAVEC: { xsavec64: 64 },
  XSAVES: { xsaves64: 64 },
  XRSTORS: { xrstors64: 64 },
};
const STRINGS = ['MOVS', 'CMPS', 'STOS', 'LODS', 'SCAS', 'INS', 'OUTS'];
/** Mnemonics that have another name in text. */
const RENAMED: Partial<Record<Mnemonic, readonly string[]>> = {
  MOV_CR: ['mov'],
  MOV_DR: ['mov'],
  MOV_SREG: ['mov'],
  RDMSR_IMM: ['rdmsr'],
  WRMSRNS_IMM: ['wrmsrns'],
  PUSH_SREG: ['push'],
  POP_SREG: ['pop'],
  CALLF: ['callf', 'call far'],
  JMPF: ['jmpf', 'jmp far'],
  XLAT: ['xlatb', 'xlat'],
};
/** Other names of the condition codes, and what people write. */
const SYNONYMS: Record<string, string> = Object.fromEntries(
  'c=b nae=b nb=ae nc=ae z=e nz=ne na=be nbe=a pe=p po=np nge=l nl=ge ng=le nle=g'.split(' ').map((pair) => pair.split('=') as [string, string]),
);

type Table = Map<string, { rows: OpcodeRow[]; operandSize: 0 | 16 | 32 | 64; addressSize: 0 | 16 | 32 | 64 }>;

function add(table: Table, name: string, row: OpcodeRow, operandSize: 0 | 16 | 32 | 64 = 0, addressSize: 0 | 16 | 32 | 64 = 0): void {
  const entry = table.get(name);
  if (entry === undefined) table.set(name, { rows: [row], operandSize, addressSize });
  else entry.rows.push(row);
}

function addString(table: Table, name: string, row: OpcodeRow): void {
  const isByte = row.operands.some((spec) => spec.type === 'b');
  if (isByte) add(table, `${name}b`, row, 0);
  else {
    add(table, `${name}w`, row, 16);
    add(table, `${name}d`, row, 32);
    if (name !== 'ins' && name !== 'outs') add(table, `${name}q`, row, 64);
  }
}

function addRow(table: Table, row: OpcodeRow<Mnemonic>): void {
  const { mnemonic } = row;
  const lower = mnemonic.toLowerCase();
  const sized = SIZED[mnemonic];
  if (sized !== undefined) for (const [name, size] of Object.entries(sized)) add(table, name, row, size);
  // `retf`, `fxsave` and their kin also go by their plain name, at the size without a prefix.
  if (sized !== undefined && lower in sized) return;
  if (STRINGS.includes(mnemonic)) return addString(table, lower, row);
  if (mnemonic === 'JCXZ') {
    for (const [name, size] of Object.entries({ jcxz: 16, jecxz: 32, jrcxz: 64 } as const)) add(table, name, row, 0, size);
    return;
  }
  for (const name of RENAMED[mnemonic] ?? [lower]) add(table, name, row);
}

function makeTable(): Table {
  const table: Table = new Map();
  for (const row of opcodeRows) addRow(table, row);
  for (const [other, condition] of Object.entries(SYNONYMS))
    for (const family of ['j', 'set', 'cmov']) {
      const entry = table.get(family + condition);
      if (entry !== undefined) table.set(family + other, entry);
    }
  for (const [other, name] of Object.entries({
    sal: 'shl',
    loopz: 'loope',
    loopnz: 'loopne',
    wait: 'fwait',
    iretw: 'iret',
    pushfw: 'pushf',
    popfw: 'popf',
  }))
    table.set(other, table.get(name) as NonNullable<ReturnType<typeof table.get>>);
  return table;
}

/** Made when the first name is looked up: who assembles nothing needs none. */
let names: Table | undefined;
const table = (): Table => (names ??= makeTable());

/** What a name in lower case stands for, or undefined. */
export const findName = (name: string): NamedRows | undefined => table().get(name);

/** Every name that text may use, in lower case. */
export const mnemonicNames = (): readonly string[] => [...table().keys()];
