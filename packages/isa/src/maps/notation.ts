import { IsaError } from '../errors.js';
import type { SensitiveEvent } from '../events.js';
import { sensitiveEvents } from '../events.js';
import type { EvexProperties, EvexTuple, OpcodeEncoding, OpcodeMap, OpcodeRow, OperandSpec } from './row.js';

/**
 * One printed line: `[opcode, mnemonic, operands, notes]`.
 *
 * Opcode: an optional mandatory prefix (`NP 66 F3 F2 NFx`), the opcode byte in hex (`+` for a register in its low bits), then `/r`, `/0`…`/7`, or a
 * second hex byte where the whole ModRM byte is opcode. Operands: `METHODtype[/memoryType][:access]`, access `r` when left out. Notes: `lock rep repz
 * cpl0 iopl i64 o64 d64 f64 prot end`, `w0 w1` (`wig32`: only in 64-bit mode), `l0 l1 l2` (or `128 256 512`), `o16 o32 o64s` operand size, `mem reg` for the ModRM form, `@feature`, `!EVENT`,
 * and for EVEX the tuple (`fv hv fvm …`), `b32 b64 b16` broadcast, `er sae` (`eri`: rounding is allowed and ignored), `k` (merge), `kz` (merge or zero), `k!` (mask needed).
 */
export type OpcodeLine<M extends string = string> = readonly [opcode: string, mnemonic: M, operands?: string, notes?: string];

/** Lines of one map in one encoding space. */
export interface OpcodeTable<M extends string = string> {
  readonly encoding: OpcodeRow['encoding'];
  readonly map: OpcodeMap;
  readonly lines: readonly OpcodeLine<M>[];
}

/** States a table; infers the union of its mnemonics. */
export function table<const L extends readonly OpcodeLine[]>(encoding: OpcodeRow['encoding'], map: OpcodeMap, lines: L): OpcodeTable<L[number][1]> {
  return { encoding, map, lines };
}

const MODRM_METHODS = new Set(['C', 'D', 'E', 'G', 'KG', 'KE', 'KR', 'BG', 'BE', 'M', 'MV', 'N', 'P', 'Q', 'R', 'S', 'U', 'V', 'W', 'STi']);
const MEMORY_METHODS = new Set(['M', 'MV']);
const REGISTER_METHODS = new Set(['N', 'R', 'U', 'KR', 'STi']);
const FIXED = new Set(['AL', 'AX', 'CL', 'DX', 'rAX', 'eAX', '1', 'ST', 'ES', 'CS', 'SS', 'DS', 'FS', 'GS']);
const ACCESS: Record<string, OperandSpec['access']> = { r: 'r', w: 'w', rw: 'rw', n: 'none' };

/**
 * The same for every line that says the same: a few hundred texts make up some thousand lines, which are read at every start. What is read is never written to, so that
 * rows may share it.
 */
function remembered<T>(parse: (text: string) => T): (text: string) => T {
  const known = new Map<string, T>();
  return (text) => {
    let found = known.get(text);
    if (found === undefined) known.set(text, (found = parse(text)));
    return found;
  };
}

const words = (text: string): string[] => (text === '' ? [] : text.split(' ').filter((word) => word !== ''));

function parseOperand(text: string): OperandSpec {
  const [spec, access = 'r'] = text.split(':') as [string, string?];
  const kind = ACCESS[access];
  if (kind === undefined) throw new IsaError('bad-opcode-line', `operand ${text}: unknown access '${access}'; use r, w, rw or n`);
  if (FIXED.has(spec)) return { method: spec, type: '', memoryType: '', access: kind };
  const match = /^(sI|STi|MV|K[GREB]|B[GE]|[A-Z])([a-z0-9]*)(?:\/([a-z0-9]+))?$/.exec(spec);
  if (!match) throw new IsaError('bad-opcode-line', `operand ${text}: neither a method with a type nor a fixed register`);
  const type = match[2] as string;
  return { method: match[1] as string, type, memoryType: match[3] ?? type, access: kind };
}

/** The operands of a line, each of them an object of its own, and what their methods say of ModRM. */
interface Operands {
  readonly list: readonly OperandSpec[];
  readonly modRm: boolean;
  readonly register: boolean;
  readonly memory: boolean;
}

const parseOperands = remembered((text: string): Operands => {
  const list = words(text).map(parseOperand);
  const has = (methods: ReadonlySet<string>): boolean => list.some((operand) => methods.has(operand.method));
  return { list, modRm: has(MODRM_METHODS), register: has(REGISTER_METHODS), memory: has(MEMORY_METHODS) };
});

type ParsedOpcode = Pick<OpcodeEncoding, 'prefix' | 'opcode' | 'zOperand' | 'reg' | 'rm' | 'hasModRm'> & { readonly fixedModRm: boolean };

const parseOpcode = remembered((text: string): ParsedOpcode => {
  const match = /^(?:(NP|NFx|66|F3|F2) )?([0-9A-F]{2})(\+)?(?: (?:\/([0-7r])|([0-9A-F]{2})))?$/.exec(text);
  if (!match) throw new IsaError('bad-opcode-line', `opcode '${text}' is not of the form [prefix] byte[+] [/digit | byte]`);
  const [, prefix, opcode, plus, digit, byte] = match;
  const modrm = byte === undefined ? -1 : parseInt(byte, 16);
  return {
    prefix: prefix === undefined ? 'any' : prefix === 'NP' ? 0 : prefix === 'NFx' ? 'nfx' : (parseInt(prefix, 16) as 0x66 | 0xf3 | 0xf2),
    opcode: parseInt(opcode as string, 16),
    zOperand: plus !== undefined,
    reg: modrm >= 0 ? (modrm >> 3) & 7 : digit === undefined || digit === 'r' ? -1 : Number(digit),
    rm: modrm >= 0 ? modrm & 7 : -1,
    hasModRm: digit !== undefined || modrm >= 0,
    fixedModRm: modrm >= 0,
  };
});

const TUPLES: Record<string, EvexTuple> = {
  fv: 'full',
  hv: 'half',
  qv: 'quarter',
  fvm: 'full-mem',
  hvm: 'half-mem',
  qvm: 'quarter-mem',
  ovm: 'eighth-mem',
  t1s: 'scalar',
  t2: 't2',
  t4: 't4',
  t8: 't8',
  m128: 'mem128',
  dup: 'movddup',
  notuple: 'none',
};
const LENGTHS: Record<string, 0 | 1 | 2> = { l0: 0, l1: 1, l2: 2, '128': 0, '256': 1, '512': 2 };

function evexOf(words: ReadonlySet<string>): EvexProperties {
  const tupleName = Object.keys(TUPLES).find((name) => words.has(name));
  if (tupleName === undefined) throw new IsaError('bad-opcode-line', `an EVEX line names no tuple (${[...words].join(' ')})`);
  const broadcast = words.has('b16') || words.has('b32') || words.has('b64');
  const elementBytes = words.has('b16') || words.has('e16') ? 2 : words.has('b64') || words.has('e64') ? 8 : words.has('e8') ? 1 : 4;
  return {
    tuple: TUPLES[tupleName] as EvexTuple,
    elementBytes,
    broadcast,
    rounding: words.has('er') ? 'er' : words.has('eri') ? 'ignored' : words.has('sae') ? 'sae' : 'none',
    mask: words.has('k!') ? 'required' : words.has('kz') ? 'zero' : words.has('k') ? 'merge' : 'none',
  };
}

const KNOWN = new Set([
  'lock',
  'rep',
  'repz',
  'cpl0',
  'iopl',
  'i64',
  'o64',
  'd64',
  'f64',
  'prot',
  'end',
  'w0',
  'w1',
  'wig32',
  'o16',
  'o32',
  'o64s',
  'mem',
  'reg',
  'anymod',
  'b16',
  'b32',
  'b64',
  'e8',
  'e16',
  'e32',
  'e64',
  'er',
  'eri',
  'sae',
  'k',
  'kz',
  'k!',
  ...Object.keys(TUPLES),
  ...Object.keys(LENGTHS),
]);

/** The notes of a line: what they say alike of every row. */
interface Notes {
  readonly words: ReadonlySet<string>;
  readonly row: Pick<OpcodeRow, 'features' | 'sensitive' | 'lock' | 'rep' | 'cpl0' | 'iopl' | 'endsBlock' | 'mode64' | 'vectorLength'>;
  readonly code: Pick<OpcodeEncoding, 'w' | 'l' | 'wIgnored32' | 'operandSize' | 'modIgnored'>;
}

function sensitiveEvent(word: string): SensitiveEvent {
  const event = sensitiveEvents.find((name) => name === word.slice(1));
  if (event === undefined) throw new IsaError('bad-opcode-line', `unknown sensitive event ${word}; add it to events.ts`);
  return event;
}

const parseNotes = remembered((text: string): Notes => {
  const all = words(text);
  const plain = new Set(all.filter((word) => !word.startsWith('@') && !word.startsWith('!')));
  for (const word of plain) if (!KNOWN.has(word)) throw new IsaError('bad-opcode-line', `unknown note '${word}' in '${text}'; see OpcodeLine`);
  const sensitive = all.filter((word) => word.startsWith('!')).map(sensitiveEvent);
  const has = (word: string): boolean => plain.has(word);
  const length = Object.keys(LENGTHS).find(has);
  const l = length === undefined ? -1 : (LENGTHS[length] as number);
  return {
    words: plain,
    row: {
      features: all.filter((word) => word.startsWith('@')).map((word) => word.slice(1)),
      sensitive: sensitive.at(-1) ?? null,
      lock: has('lock'),
      rep: has('rep') ? 'rep' : has('repz') ? 'repz' : 'none',
      cpl0: has('cpl0'),
      iopl: has('iopl'),
      endsBlock: has('end'),
      mode64: has('i64') ? 'invalid' : has('o64') ? 'only' : has('d64') ? 'default64' : has('f64') ? 'force64' : 'any',
      vectorLength: l < 0 ? 0 : ((128 << l) as 128 | 256 | 512),
    },
    code: {
      w: has('w0') ? 0 : has('w1') ? 1 : -1,
      l,
      wIgnored32: has('wig32'),
      operandSize: has('o16') ? 16 : has('o32') ? 32 : has('o64s') ? 64 : 0,
      modIgnored: has('anymod'),
    },
  };
});

const parseEvex = remembered((text: string): EvexProperties => evexOf(parseNotes(text).words));

function modOf(operands: Operands, notes: Notes, fixedModRm: boolean): OpcodeEncoding['mod'] {
  if (notes.code.modIgnored) return 'any';
  if (fixedModRm || notes.words.has('reg') || operands.register) return 'register';
  return notes.words.has('mem') || operands.memory ? 'memory' : 'any';
}

function parseLine({ encoding, map }: OpcodeTable, [opcodeText, mnemonic, operandText = '', noteText = '']: OpcodeLine, id: number): OpcodeRow {
  const notes = parseNotes(noteText);
  const operands = parseOperands(operandText);
  const opcode = parseOpcode(opcodeText);
  const legacy = encoding === 'legacy';
  const { features, sensitive, lock, rep, cpl0, iopl, endsBlock, mode64, vectorLength } = notes.row;
  const { w, l, wIgnored32, operandSize, modIgnored } = notes.code;
  return {
    id,
    mnemonic,
    operands: operands.list,
    features,
    sensitive,
    lock,
    rep,
    cpl0,
    iopl,
    protectedOnly: notes.words.has('prot') || !legacy,
    endsBlock,
    mode64,
    encoding,
    vectorLength,
    code: {
      opcode: opcode.opcode,
      zOperand: opcode.zOperand,
      reg: opcode.reg,
      rm: opcode.rm,
      map,
      prefix: !legacy && opcode.prefix === 'any' ? 0 : opcode.prefix,
      hasModRm: opcode.hasModRm || operands.modRm,
      mod: modOf(operands, notes, opcode.fixedModRm),
      w,
      l,
      wIgnored32,
      operandSize,
      modIgnored,
    },
    evex: encoding === 'evex' ? parseEvex(noteText) : null,
  };
}

/** Reads all tables into rows with dense ids, in order. */
export function parseTables<M extends string>(tables: readonly OpcodeTable<M>[]): readonly OpcodeRow<M>[] {
  const rows: OpcodeRow[] = [];
  for (const one of tables) for (const line of one.lines) rows.push(parseLine(one, line, rows.length));
  return rows as unknown as readonly OpcodeRow<M>[];
}
