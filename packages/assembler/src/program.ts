import type { Mnemonic } from '@nestvm/isa';
import type { EncodeContext, Prefixes } from './encode.js';
import { AssemblerError } from './errors.js';
import type { Expression, Resolve } from './expression.js';
import { evaluate } from './expression.js';
import type { CodeBits } from './fields.js';
import { mnemonicNames } from './names.js';
import type { Operand, OperandLike } from './operand.js';
import { parseLine, splitLines } from './parse-line.js';
import { parseOperand } from './parse-operand.js';
import { selectEncoding } from './select.js';

/** What came out: bytes from `origin` on, and where the labels are. */
export interface Assembled {
  readonly origin: number;
  readonly bytes: Uint8Array;
  readonly labels: ReadonlyMap<string, number>;
  /** Address of a label; throws `AssemblerError` (`unknown-label`). */
  address(label: string): number;
}

/** Something that takes room: `encode` gives its bytes, at least `minimum` of them, for one placement. */
interface Item {
  encode(at: bigint, resolve: Resolve, minimum: number): Uint8Array | readonly number[];
}

/** Options of a program. */
export interface ProgramOptions {
  /** Address of the first byte (default 0). */
  readonly origin?: number;
  /** Code size at the start (default 64). */
  readonly mode?: CodeBits;
}

const MAX_PASSES = 64;

/** Collects instructions, data and labels; `assemble` lays them out. Instructions are methods too: see `Assembler`. */
export class Program {
  private readonly items: (Item | { readonly label: string })[] = [];
  private readonly labels = new Map<string, bigint>();
  private readonly defined = new Set<string>();
  private readonly origin: number;
  private mode: CodeBits;
  private scope = '';

  constructor(options: ProgramOptions = {}) {
    this.origin = options.origin ?? 0;
    this.mode = options.mode ?? 64;
  }

  /** Following instructions are for a code segment of this size. */
  bits(mode: CodeBits): void {
    this.mode = mode;
  }

  /** Defines a label here. A name that starts with a dot belongs to the label before it. */
  label(name: string): void {
    if (!name.startsWith('.')) this.scope = name;
    const full = this.qualify(name);
    if (this.defined.has(full)) throw new AssemblerError('duplicate-label', `label ${full}: defined twice; give one of them another name`);
    this.defined.add(full);
    this.items.push({ label: full });
  }

  /** An instruction by name (`mov`, `lock add`, `rep movsb`) and operands. */
  instruction(name: string, ...operands: readonly OperandLike[]): void {
    const { mode } = this;
    const { plain, prefixes } = splitPrefixes(name.toLowerCase());
    const parsed = operands.map((operand) => this.parse(operand));
    const describe = (): string => `${name} ${operands.map(operandText).join(', ')}`.trim();
    this.items.push({
      encode: (at, resolve, minimum) => {
        const context: EncodeContext = { mode, at, resolve, prefixes };
        return selectEncoding(plain, parsed, context, minimum, describe).bytes;
      },
    });
  }

  /** Bytes as they are, text in Latin-1, or 8-bit values. */
  db(...values: readonly (Expression | string | Uint8Array)[]): void {
    for (const value of values) {
      if (typeof value === 'string') this.data(Uint8Array.from(value, (c) => c.charCodeAt(0)));
      else if (value instanceof Uint8Array) this.data(value);
      else this.value(value, 1);
    }
  }

  /** 16-bit values. */
  dw(...values: readonly Expression[]): void {
    for (const value of values) this.value(value, 2);
  }

  /** 32-bit values. */
  dd(...values: readonly Expression[]): void {
    for (const value of values) this.value(value, 4);
  }

  /** 64-bit values. */
  dq(...values: readonly Expression[]): void {
    for (const value of values) this.value(value, 8);
  }

  /** So many zero bytes. */
  zero(count: number): void {
    this.data(new Uint8Array(count));
  }

  /** Goes on at the next multiple of `alignment`, a power of two. */
  align(alignment: number, fill = 0): void {
    this.items.push({ encode: (at) => new Uint8Array(Number(-at & BigInt(alignment - 1))).fill(fill) });
  }

  /** Goes on at an address; what lies between is zero. */
  org(address: number): void {
    this.items.push({
      encode: (at) => {
        if (BigInt(address) < at)
          throw new AssemblerError('out-of-range', `org 0x${address.toString(16)}: the program is already at 0x${at.toString(16)}; move it later`);
        return new Uint8Array(Number(BigInt(address) - at));
      },
    });
  }

  /** Lines of Intel text: labels (`name:`), instructions, and the directives `db dw dd dq zero align org bits`; comments begin with `;`. */
  text(source: string): void {
    for (const line of splitLines(source)) {
      try {
        parseLine(line.text, this);
      } catch (error) {
        if (error instanceof AssemblerError) throw new AssemblerError(error.code, `line ${line.number}: ${error.message}`);
        throw error;
      }
    }
  }

  /** Lays the program out; throws `AssemblerError` for what cannot be encoded. */
  assemble(): Assembled {
    const lengths = new Int32Array(this.items.length);
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      const chunks: (Uint8Array | readonly number[])[] = [];
      if (!this.pass(lengths, chunks)) return this.finish(chunks);
    }
    throw new AssemblerError('does-not-settle', `assemble: ${MAX_PASSES} passes do not settle the addresses; an align or org depends on itself`);
  }

  private pass(lengths: Int32Array, chunks: (Uint8Array | readonly number[])[]): boolean {
    let at = BigInt(this.origin);
    let changed = false;
    const resolve: Resolve = (name) => this.resolve(name, at);
    this.items.forEach((item, i) => {
      if ('label' in item) {
        changed ||= this.labels.get(item.label) !== at;
        this.labels.set(item.label, at);
        return;
      }
      const bytes = item.encode(at, resolve, lengths[i] as number);
      changed ||= bytes.length !== lengths[i];
      lengths[i] = bytes.length;
      chunks.push(bytes);
      at += BigInt(bytes.length);
    });
    return changed;
  }

  private finish(chunks: readonly (Uint8Array | readonly number[])[]): Assembled {
    const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let at = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    const labels = new Map([...this.labels].map(([name, value]) => [name, Number(value)]));
    return { origin: this.origin, bytes, labels, address: (name) => Number(this.resolve(name, undefined)) };
  }

  /** A label that is not placed yet is taken to be here: branches begin short. */
  private resolve(name: string, here: bigint | undefined): bigint {
    const value = this.labels.get(name);
    if (value !== undefined) return value;
    if (here !== undefined && this.defined.has(name)) return here;
    throw new AssemblerError('unknown-label', `label ${name}: not defined; add '${name}:' or correct the name`);
  }

  /** Full name of a label. */
  qualify(name: string): string {
    return name.startsWith('.') ? this.scope + name : name;
  }

  private parse(operand: OperandLike): Operand {
    return typeof operand === 'string' ? parseOperand(operand, (name) => this.qualify(name)) : operand;
  }

  private data(bytes: Uint8Array): void {
    this.items.push({ encode: () => bytes });
  }

  private value(expression: Expression, size: number): void {
    this.items.push({
      encode: (_at, resolve) => {
        const value = evaluate(expression, resolve);
        if (value >= 1n << BigInt(size * 8) || value < -(1n << BigInt(size * 8 - 1)))
          throw new AssemblerError('out-of-range', `data 0x${value.toString(16)}: does not fit into ${size} bytes; use a wider directive`);
        return Array.from({ length: size }, (_, i) => Number((value >> BigInt(i * 8)) & 0xffn));
      },
    });
  }
}

const operandText = (operand: OperandLike): string => {
  if (typeof operand !== 'object') return String(operand);
  return operand.kind === 'register' ? operand.name : operand.kind === 'label' ? operand.label : operand.kind;
};

function splitPrefixes(name: string): { plain: string; prefixes: Prefixes } {
  let plain = name.trim();
  let prefixes: Prefixes = {};
  for (let match = PREFIX.exec(plain); match !== null; match = PREFIX.exec(plain)) {
    const word = match[1] as string;
    prefixes = word === 'lock' ? { ...prefixes, lock: true } : { ...prefixes, rep: word === 'repne' || word === 'repnz' ? 'repne' : 'rep' };
    plain = plain.slice(match[0].length);
  }
  return { plain, prefixes };
}

const PREFIX = /^(lock|repne|repnz|repe|repz|rep)\s+/;

/** Names of instructions that are not a mnemonic in lower case. */
type OtherName =
  | `${'movs' | 'cmps' | 'stos' | 'lods' | 'scas'}${'b' | 'w' | 'd' | 'q'}`
  | `${'ins' | 'outs'}${'b' | 'w' | 'd'}`
  | `${'push' | 'pop'}f${'d' | 'q'}`
  | 'cwde' | 'cdqe' | 'cdq' | 'cqo' | 'iretd' | 'iretq' | 'retfq' | 'jecxz' | 'jrcxz' | 'jz' | 'jnz' | 'jc' | 'jnc' | 'setz' | 'setnz' | 'sysretq' | 'sysexitq' | 'fxsave64' | 'fxrstor64'; // biome-ignore format: one list

/** A program whose instructions are methods: `a.mov(rax, 1)`, `a.jmp('loop')`, `a.vmread('rax', 'rcx')`. */
export type Assembler = Program & Readonly<Record<Lowercase<Mnemonic> | OtherName, (...operands: OperandLike[]) => void>>;

/** Programs with a method for every instruction; the class is made for the first of them, since there are more than a thousand. */
let methodProgram: typeof Program | undefined;

function makeMethodProgram(): typeof Program {
  class MethodProgram extends Program {}
  for (const name of mnemonicNames()) {
    if (name in MethodProgram.prototype) continue;
    Object.defineProperty(MethodProgram.prototype, name, {
      value(this: Program, ...operands: OperandLike[]): void {
        this.instruction(name, ...operands);
      },
    });
  }
  return MethodProgram;
}

/** An empty program with a method for every instruction. */
export function createAssembler(options: ProgramOptions = {}): Assembler {
  methodProgram ??= makeMethodProgram();
  return new methodProgram(options) as unknown as Assembler;
}

const build =
  (mode: CodeBits) =>
  (write: (a: Assembler) => void, options: Omit<ProgramOptions, 'mode'> = {}): Assembled => {
    const program = createAssembler({ ...options, mode });
    write(program);
    return program.assemble();
  };

/** Assembles 16-bit code. */
export const asm16 = build(16);
/** Assembles 32-bit code. */
export const asm32 = build(32);
/** Assembles 64-bit code. */
export const asm64 = build(64);

/** Assembles Intel text; throws `AssemblerError`. */
export function assemble(source: string, options: ProgramOptions = {}): Assembled {
  const program = new Program(options);
  program.text(source);
  return program.assemble();
}
