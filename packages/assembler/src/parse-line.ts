import { AssemblerError } from './errors.js';
import type { Expression } from './expression.js';
import { findName } from './names.js';
import { parseExpression } from './parse-operand.js';

/** What a line of text adds to: a program. */
export interface LineTarget {
  label(name: string): void;
  qualify(name: string): string;
  instruction(name: string, ...operands: string[]): void;
  db(...values: (Expression | string)[]): void;
  dw(...values: Expression[]): void;
  dd(...values: Expression[]): void;
  dq(...values: Expression[]): void;
  zero(count: number): void;
  align(alignment: number): void;
  org(address: number): void;
  bits(mode: 16 | 32 | 64): void;
}

/** Lines with their numbers, without comments and empty lines. */
export function splitLines(source: string): { readonly number: number; readonly text: string }[] {
  return source
    .split('\n')
    .map((line, i) => ({ number: i + 1, text: stripComment(line).trim() }))
    .filter(({ text }) => text !== '');
}

/** What stands before a semicolon that is not in quotes. */
function stripComment(line: string): string {
  const match = /^(?:"[^"]*"|'[^']*'|[^;"'])*/.exec(line);
  return match === null ? '' : match[0];
}

/** Splits at commas outside quotes, brackets and braces. */
function splitOperands(text: string): string[] {
  const parts = text.match(/(?:"[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^,])+/g) ?? [];
  return parts.map((part) => part.trim());
}

function numberOf(text: string): number {
  const value = parseExpression(text);
  if (value === undefined || typeof value === 'object') throw new AssemblerError('bad-text', `'${text}': a number is wanted here`);
  return Number(value);
}

function dataOf(text: string, program: LineTarget): Expression | string {
  const quoted = /^(?:"([^"]*)"|'([^']*)')$/.exec(text);
  if (quoted !== null) return unescape(quoted[1] ?? (quoted[2] as string));
  const value = parseExpression(text, (name) => program.qualify(name));
  if (value === undefined) throw new AssemblerError('bad-text', `'${text}': data is a number, a label or quoted text`);
  return value;
}

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', '0': '\0', '\\': '\\' };
const unescape = (text: string): string => text.replace(/\\([nrt0\\])/g, (_, c: string) => ESCAPES[c] as string);

/** The values of `dw`, `dd` and `dq`: a character stands for its code. */
const wide = (values: readonly (Expression | string)[]): Expression[] =>
  values.map((value) => (typeof value === 'string' ? value.charCodeAt(0) : value));

/** Runs a directive; false when the name is none. */
function directive(name: string, rest: string, program: LineTarget): boolean {
  const parts = splitOperands(rest);
  const data = (): (Expression | string)[] => parts.map((part) => dataOf(part, program));
  switch (name) {
    case 'db':
      program.db(...data());
      return true;
    case 'dw':
      program.dw(...wide(data()));
      return true;
    case 'dd':
      program.dd(...wide(data()));
      return true;
    case 'dq':
      program.dq(...wide(data()));
      return true;
    case 'zero':
    case 'resb':
      program.zero(numberOf(rest));
      return true;
    case 'align':
      program.align(numberOf(rest));
      return true;
    case 'org':
      program.org(numberOf(rest));
      return true;
    case 'bits': {
      const mode = numberOf(rest);
      if (mode !== 16 && mode !== 32 && mode !== 64) throw new AssemblerError('bad-text', `bits ${rest}: 16, 32 or 64`);
      program.bits(mode);
      return true;
    }
    default:
      return false;
  }
}

const LABEL_LINE = /^([a-z_.$][\w.$]*):\s*/i;
const HEAD = /^((?:(?:lock|repne|repnz|repe|repz|rep)\s+)*)(\S+)\s*/i;

/** Reads one line into a program; throws `AssemblerError` (`bad-text`, `bad-operand`, `unknown-mnemonic`, `duplicate-label`). */
export function parseLine(line: string, program: LineTarget): void {
  let text = line;
  for (let match = LABEL_LINE.exec(text); match !== null; match = LABEL_LINE.exec(text)) {
    program.label(match[1] as string);
    text = text.slice(match[0].length);
  }
  const head = HEAD.exec(text);
  if (head === null) return;
  const [whole, prefixes, name] = head as unknown as [string, string, string];
  let rest = text.slice(whole.length);
  if (directive(name.toLowerCase(), rest, program)) return;
  let mnemonic = name.toLowerCase();
  if (/^far\s/i.test(rest) && findName(`${mnemonic} far`) !== undefined) {
    mnemonic += ' far';
    rest = rest.slice(3).trim();
  }
  program.instruction(prefixes + mnemonic, ...splitOperands(rest));
}
