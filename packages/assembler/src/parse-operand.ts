import { AssemblerError } from './errors.js';
import type { Expression } from './expression.js';
import type { Decoration, Memory, MemoryOptions, Operand, Register, Rounding } from './operand.js';
import { decorate, far, memory } from './operand.js';
import { findRegister } from './registers.js';

const SIZES: Record<string, number> = {
  byte: 8,
  word: 16,
  dword: 32,
  fword: 48,
  qword: 64,
  tbyte: 80,
  oword: 128,
  xmmword: 128,
  ymmword: 256,
  zmmword: 512,
};
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];
const NUMBER = /^(?:0x[0-9a-f_]+|0b[01_]+|[0-9][0-9_]*)$/i;
const LABEL = /^[a-z_.$][\w.$]*$/i;
const ROUNDINGS = new Set(['rne-sae', 'rd-sae', 'ru-sae', 'rz-sae', 'sae']);

const bad = (text: string, why: string): AssemblerError => new AssemblerError('bad-operand', `operand '${text}': ${why}`);

/** A number in C notation or a character, or undefined. */
function parseNumber(text: string): bigint | undefined {
  if (NUMBER.test(text)) return BigInt(text.replaceAll('_', ''));
  return /^'.'$/.test(text) ? BigInt(text.charCodeAt(1)) : undefined;
}

/** Terms of a sum with their signs. */
function splitTerms(text: string): { sign: 1n | -1n; term: string }[] {
  const terms: { sign: 1n | -1n; term: string }[] = [];
  for (const match of text.matchAll(/([+-]?)\s*('.'|[^+\s-]+)\s*/g)) terms.push({ sign: match[1] === '-' ? -1n : 1n, term: match[2] as string });
  return terms;
}

/** Adds one term to a sum; false when it is neither a number nor a label. */
class Sum {
  private constant = 0n;
  private plus: string | undefined;
  private minus: string | undefined;

  constructor(private readonly rename: (label: string) => string) {}

  add(sign: 1n | -1n, term: string): boolean {
    const value = parseNumber(term);
    if (value !== undefined) this.constant += sign * value;
    else if (!LABEL.test(term)) return false;
    else if (sign === 1n && this.plus === undefined) this.plus = this.rename(term);
    else if (sign === -1n && this.minus === undefined) this.minus = this.rename(term);
    else return false;
    return true;
  }

  get(): Expression | undefined {
    if (this.plus === undefined) return this.minus === undefined ? this.constant : undefined;
    return { kind: 'label', label: this.plus, addend: this.constant, ...(this.minus === undefined ? {} : { minus: this.minus }) };
  }
}

/** How labels are renamed: local ones get the name of the label that they belong to. */
export type Rename = (label: string) => string;

const asIs: Rename = (label) => label;

/** A sum of numbers and at most one label (minus at most one other); undefined when it is none. */
export function parseExpression(text: string, rename: Rename = asIs): Expression | undefined {
  const sum = new Sum(rename);
  const terms = splitTerms(text);
  if (terms.length === 0) return undefined;
  return terms.every(({ sign, term }) => sum.add(sign, term)) ? sum.get() : undefined;
}

interface Address {
  base: Register | 'rip' | 'eip' | null;
  index: Register | null;
  scale: 1 | 2 | 4 | 8;
}

/** Takes a register term of an address; false when there is no room for it. */
function addRegister(address: Address, register: Register, scale: number | undefined): boolean {
  if (scale !== undefined || register.file === 'vector') {
    if (address.index !== null) return false;
    address.index = register;
    address.scale = (scale ?? 1) as 1 | 2 | 4 | 8;
    return [1, 2, 4, 8].includes(scale ?? 1);
  }
  if (address.base === null) address.base = register;
  else if (address.index === null) address.index = register;
  else return false;
  return true;
}

const SCALED = /^(?:([a-z0-9]+)\*([1248])|([1248])\*([a-z0-9]+))$/;

function parseAddress(text: string, whole: string, rename: Rename): Pick<Memory, 'base' | 'index' | 'scale' | 'displacement'> {
  const address: Address = { base: null, index: null, scale: 1 };
  const sum = new Sum(rename);
  const relative = /^rel\s+/i.exec(text);
  if (relative !== null) address.base = 'rip';
  for (const { sign, term } of splitTerms((relative === null ? text : text.slice(relative[0].length)).replace(/\s*\*\s*/g, '*'))) {
    const lower = term.toLowerCase();
    const scaled = SCALED.exec(lower);
    const register = findRegister(scaled === null ? lower : ((scaled[1] ?? scaled[4]) as string));
    if (lower === 'rip' || lower === 'eip') address.base = lower;
    else if (register !== undefined && sign === 1n) {
      const scale = scaled === null ? undefined : Number(scaled[2] ?? scaled[3]);
      if (!addRegister(address, register, scale)) throw bad(whole, 'an address has one base and one index, scaled by 1, 2, 4 or 8');
    } else if (!sum.add(sign, term)) throw bad(whole, `'${term}' has no place in an address`);
  }
  const displacement = sum.get();
  if (displacement === undefined) throw bad(whole, 'a label can only be subtracted from a label');
  return { ...address, displacement };
}

const MEMORY = /^(?:(\w+)\s+(?:ptr\s+)?)?(?:([c-gs]s)\s*:\s*)?\[(?:\s*([c-gs]s)\s*:)?([^\]]*)\]$/i;

function parseMemory(text: string, rename: Rename): Memory | undefined {
  const match = MEMORY.exec(text);
  if (match === null) return undefined;
  const [, size, before, inside, body] = match;
  const bits = size === undefined ? 0 : SIZES[size.toLowerCase()];
  if (bits === undefined) throw bad(text, `'${size}' is no size; use ${Object.keys(SIZES).join(', ')}`);
  const options: MemoryOptions = {
    bits,
    segment: SEGMENTS.indexOf((before ?? inside ?? '').toLowerCase()),
    ...parseAddress((body as string).trim(), text, rename),
  };
  return memory(options);
}

function parseDecoration(words: readonly string[], text: string): { decoration: Decoration; broadcast: number } {
  let decoration: Decoration = {};
  let broadcast = 0;
  for (const word of words) {
    if (/^k[1-7]$/.test(word)) decoration = { ...decoration, mask: Number(word[1]) };
    else if (word === 'z') decoration = { ...decoration, zeroing: true };
    else if (ROUNDINGS.has(word)) decoration = { ...decoration, rounding: word as Rounding };
    else if (/^1to\d+$/.test(word)) broadcast = Number(word.slice(3));
    else throw bad(text, `'{${word}}' is not known; there are {k1} to {k7}, {z}, {1toN}, {rne-sae} {rd-sae} {ru-sae} {rz-sae} {sae}`);
  }
  return { decoration, broadcast };
}

function parsePlain(text: string, rename: Rename): Operand {
  const found = findRegister(text.toLowerCase()) ?? parseMemory(text, rename);
  if (found !== undefined) return found;
  const relative = /^[.$]\s*([+-])\s*(0x[0-9a-f]+|\d+)$/i.exec(text);
  if (relative !== null) return { kind: 'relative', delta: (relative[1] === '-' ? -1 : 1) * Number(relative[2]) };
  const pointer = /^(0x[0-9a-f]+|\d+)\s*:\s*(.+)$/i.exec(text);
  const expression = parseExpression(pointer === null ? text : (pointer[2] as string), rename);
  if (expression === undefined) throw bad(text, 'neither a register, memory in brackets, a number nor a label');
  return pointer === null ? expression : far(Number(pointer[1]), expression);
}

/** Reads one operand in Intel syntax; throws `AssemblerError` (`bad-operand`). */
export function parseOperand(text: string, rename: Rename = asIs): Operand {
  const words: string[] = [];
  const plain = text
    .replace(/\{([^}]*)\}/g, (_, word: string) => {
      words.push(word.trim().toLowerCase());
      return '';
    })
    .trim();
  const operand = parsePlain(plain, rename);
  if (words.length === 0) return operand;
  const { decoration, broadcast } = parseDecoration(words, text);
  if (typeof operand !== 'object' || (operand.kind !== 'register' && operand.kind !== 'memory'))
    throw bad(text, 'only registers and memory take decorations');
  if (broadcast === 0) return decorate(operand, decoration);
  if (operand.kind !== 'memory') throw bad(text, 'only memory can be broadcast');
  return decorate({ ...operand, broadcast }, decoration);
}
