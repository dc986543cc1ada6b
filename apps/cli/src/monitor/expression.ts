import type { Machine } from '@nestvm/machine';
import { UsageError } from '../errors.js';

type Cpu = Machine['cpus'][number];

const NUMBERED = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'];
const CONTROL = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'] as const;
const U64 = 64;
/** Most parentheses and signs in one another. */
const MOST_NESTED = 256;

/** Value of `$name` on a vCPU; undefined for a register that there is not. */
function register(cpu: Cpu, name: string): bigint | undefined {
  const wide = name.replace(/^e(?=[a-ds][xpi]$)/, 'r');
  const number = NUMBERED.indexOf(wide);
  if (number >= 0) return wide === name ? cpu.gpr(number) : cpu.gpr(number) & 0xffffffffn;
  if (name === 'rip' || name === 'pc' || name === 'eip') return cpu.rip;
  if (name === 'eflags' || name === 'rflags') return BigInt(cpu.readRflags() >>> 0);
  const control = CONTROL.find((known) => known === name);
  return control && cpu.get64(control);
}

/** One level of operators of equal strength, from the weakest; each combines two values. */
const LEVELS: readonly Readonly<Record<string, (a: bigint, b: bigint) => bigint>>[] = [
  { '|': (a, b) => a | b, '^': (a, b) => a ^ b, '&': (a, b) => a & b },
  { '<<': (a, b) => a << (b & 63n), '>>': (a, b) => a >> (b & 63n) },
  { '+': (a, b) => a + b, '-': (a, b) => a - b },
  { '*': (a, b) => a * b, '/': (a, b) => divide(a, b), '%': (a, b) => a - divide(a, b) * b },
];

function divide(a: bigint, b: bigint): bigint {
  if (b === 0n) throw new UsageError('division by zero');
  return a / b;
}

/** Reads numbers, `$registers`, `+ - * / % & | ^ << >> ~` and parentheses. */
class ExpressionReader {
  private readonly tokens: readonly string[];
  private at = 0;
  private nested = 0;

  constructor(
    private readonly text: string,
    private readonly cpu: Cpu,
  ) {
    this.tokens = text.match(/\$\w+|\w+|<<|>>|\S/g) ?? [];
  }

  value(): bigint {
    const value = this.level(0);
    if (this.at < this.tokens.length) throw this.complaint();
    return BigInt.asUintN(U64, value);
  }

  private level(depth: number): bigint {
    const operators = LEVELS[depth];
    if (operators === undefined) return this.atom();
    let value = this.level(depth + 1);
    for (;;) {
      const token = this.tokens[this.at];
      if (token === undefined || !Object.hasOwn(operators, token)) return value;
      this.at++;
      value = BigInt.asUintN(U64, operators[token]!(value, this.level(depth + 1)));
    }
  }

  private atom(): bigint {
    if (++this.nested > MOST_NESTED) throw new UsageError(`an expression of more than ${MOST_NESTED} parentheses and signs in one another`);
    const value = this.simple();
    this.nested--;
    return value;
  }

  private simple(): bigint {
    const token = this.tokens[this.at++];
    if (token === '(') {
      const value = this.level(0);
      if (this.tokens[this.at++] !== ')') throw new UsageError(`'${this.text}': a ')' is missing`);
      return value;
    }
    if (token === '-') return -this.atom();
    if (token === '+') return this.atom();
    if (token === '~') return BigInt.asUintN(U64, ~this.atom());
    if (token?.startsWith('$')) return this.registerValue(token.slice(1));
    if (token === undefined || !/^(0x[0-9a-f]+|\d+)$/i.test(token)) throw this.complaint();
    return BigInt(token);
  }

  private registerValue(name: string): bigint {
    const value = register(this.cpu, name.toLowerCase());
    if (value === undefined)
      throw new UsageError(`$${name}: no such register; there are $rax … $r15, $rip, $eflags, $cr0, $cr2, $cr3, $cr4, $cr8, $efer`);
    return value;
  }

  private complaint(): UsageError {
    return new UsageError(`'${this.text}' is no expression; write 0x1000, $rip or ($rsp + 8) * 2`);
  }
}

/** Value of an expression of the monitor over the registers of a vCPU, as an unsigned 64-bit number; throws `UsageError`. */
export const evaluate = (text: string, cpu: Cpu): bigint => new ExpressionReader(text, cpu).value();
