import { Decoder, DecoderOptions, Mnemonic, RflagsBits } from 'iced-x86';
import type { Form } from './forms.js';

/** Arithmetic flags at their places in RFLAGS. */
export interface DocumentedFlags {
  readonly read: number;
  /** Written, cleared, set or left undefined. */
  readonly modified: number;
  readonly cleared: number;
  readonly set: number;
}

const BITS: readonly (readonly [number, number])[] = [
  [RflagsBits.CF, 1],
  [RflagsBits.PF, 4],
  [RflagsBits.AF, 0x10],
  [RflagsBits.ZF, 0x40],
  [RflagsBits.SF, 0x80],
  [RflagsBits.OF, 0x800],
];
const flagsOf = (iced: number): number => BITS.reduce((sum, [from, to]) => ((iced & from) !== 0 ? sum | to : sum), 0);

const MAPS: Readonly<Record<string, readonly [number[], number]>> = {
  '': [[], 0],
  '0F': [[0x0f], 1],
  '0F38': [[0x0f, 0x38], 2],
  '0F3A': [[0x0f, 0x3a], 3],
};
const PP: Readonly<Record<string, number>> = { 0x66: 1, 0xf3: 2, 0xf2: 3 };
const LONGEST = 15;

function modRm({ row, facts }: Form): number[] {
  const { hasModRm, reg, rm, mod } = row.code;
  if (!hasModRm) return [];
  const middle = (reg < 0 ? 1 : reg) << 3;
  const named = row.code.mod !== 'register' && row.operands.some((o) => ['E', 'M', 'MV', 'W', 'Q'].includes(o.method)) && facts.memory;
  if (!named || mod === 'register') return [0xc0 | middle | (rm < 0 ? 2 : rm)];
  if (row.operands.some((o) => o.method === 'MV')) return [middle | 4, 0x23];
  return [middle | (facts.addressSize === 16 ? 7 : 3)];
}

function vexBytes(form: Form): number[] {
  const { row, facts } = form;
  const { prefix, opcode, w, map } = row.code;
  const wide = w === 1 || facts.operandSize === 64;
  const vvvv = row.operands.some((o) => o.method === 'H' || o.method === 'B') ? 7 : 0;
  const last = (wide ? 0x80 : 0) | ((~vvvv & 15) << 3) | (facts.vectorLength === 256 || row.code.l === 1 ? 4 : 0) | (PP[prefix] ?? 0);
  return [0xc4, 0xe0 | MAPS[map]![1], last, opcode, ...modRm(form)];
}

function legacyBytes(form: Form, bits: number): number[] {
  const { row, facts } = form;
  const { prefix, opcode, zOperand, map } = row.code;
  const bytes: number[] = [];
  const ordinary = bits === 16 ? 16 : 32;
  const free = prefix === 'any' || prefix === 'nfx';
  const isForced = bits === 64 && row.mode64 !== 'any' && row.mode64 !== 'only';
  if (facts.operandSize === 16 ? bits !== 16 : facts.operandSize === 32 && ordinary === 16 && free) bytes.push(0x66);
  if (!free && prefix !== 0) bytes.push(prefix as number);
  if (facts.rep !== 0) bytes.push(facts.rep === 1 ? 0xf3 : 0xf2);
  if (facts.operandSize === 64 && !isForced) bytes.push(0x48);
  return [...bytes, ...MAPS[map]![0], zOperand ? opcode + 3 : opcode, ...modRm(form)];
}

/** What the manuals say about a form's flags, by way of iced-x86; null where the bytes made for it are another instruction. */
export function documentedFlags(form: Form): DocumentedFlags | null {
  const bits = form.facts.long ? 64 : form.facts.addressSize;
  const head = form.row.encoding === 'vex' ? vexBytes(form) : legacyBytes(form, bits);
  const decoder = new Decoder(bits, Uint8Array.from([...head, ...new Array<number>(LONGEST).fill(1)]), DecoderOptions.None);
  const instruction = decoder.decode();
  const name = (Mnemonic[instruction.mnemonic] ?? '').toUpperCase();
  const same = name.startsWith(form.row.mnemonic.slice(0, 3)) || /^(J|SET|CMOV|S[AH]L|XLAT|WAIT|FWAIT|CBW|CWD|PUSH|POP)/.test(form.row.mnemonic);
  const flags = {
    read: flagsOf(instruction.rflagsRead),
    modified: flagsOf(instruction.rflagsModified),
    cleared: flagsOf(instruction.rflagsCleared),
    set: flagsOf(instruction.rflagsSet),
  };
  instruction.free();
  decoder.free();
  return same ? flags : null;
}
