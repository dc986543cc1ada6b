import { Code } from '../code.js';
import { type FunctionRef, Kind, type Node, type Statement } from '../node.js';

/** How places and calls are named in pseudo-code. */
export interface Names {
  /** The i-th parameter. */
  readonly parameter?: (index: number) => string;
  /** What lies at a constant offset from a parameter, in place of `parameter[offset]`. */
  readonly place?: (parameter: number, offset: number, bytes: number) => string | undefined;
  /** A call, given the texts of its arguments, in place of `name(args)`. */
  readonly call?: (target: FunctionRef, args: readonly string[]) => string | undefined;
}

const INFIX: Readonly<Record<string, string>> = {
  add: '+',
  sub: '-',
  mul: '×',
  div_s: '÷',
  div_u: '÷ᵤ',
  rem_s: 'mod',
  rem_u: 'modᵤ',
  and: '&',
  or: '|',
  xor: '^',
  shl: '<<',
  shr_s: '>>',
  shr_u: '>>>',
  eq: '=',
  ne: '≠',
  lt_s: '<',
  lt_u: '<ᵤ',
  gt_s: '>',
  gt_u: '>ᵤ',
  le_s: '≤',
  le_u: '≤ᵤ',
  ge_s: '≥',
  ge_u: '≥ᵤ',
};
const WIDENING = new Set(['i64.extend_i32_u', 'i64.extend_i32_s', 'i32.wrap_i64']);
const hex = (value: number | bigint): string =>
  value >= -9 && value <= 9 ? `${value}` : value < 0 ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;

/**
 * Writes a function as pseudo-code for people: one line for each effect, with what is computed for it inlined. A value that is used more than once, or that an
 * effect separates from its use, gets a name where it is made.
 */
export function explain(code: Code, names: Names = {}): string[] {
  return new Explainer(names).run(code.body);
}

class Explainer {
  private readonly lines: string[] = [];
  private readonly named = new Map<Node, string>();
  private depth = 0;

  constructor(private readonly names: Names) {}

  run(body: readonly Statement[]): string[] {
    this.list(body);
    return this.lines;
  }

  private line(text: string): void {
    this.lines.push(`${'  '.repeat(this.depth)}${text}`);
  }

  private nested(body: readonly Statement[]): void {
    this.depth++;
    this.list(body);
    this.depth--;
  }

  private list(body: readonly Statement[]): void {
    for (const [i, statement] of body.entries()) this.statement(statement, body, i);
  }

  private statement(s: Statement, body: readonly Statement[], i: number): void {
    switch (s.kind) {
      case 'define':
        if (s.node.uses > 1 || (s.node.uses === 1 && this.isReading(s.node) && effectFollows(body, i))) this.name(s.node, this.compute(s.node));
        break;
      case 'store':
        this.line(`${this.place(s.address, s.offset, s.memory.bytes)} ← ${this.text(s.value)}`);
        break;
      case 'set':
        this.line(`v${s.variable} ← ${this.text(s.value)}`);
        break;
      case 'if':
        this.line(`if ${this.text(s.condition)}`);
        this.nested(s.then);
        if (s.otherwise.length > 0) {
          this.line('else');
          this.nested(s.otherwise);
        }
        break;
      case 'block':
      case 'loop':
        this.line(`${s.kind === 'loop' ? 'repeat' : 'block'} L${s.label}`);
        this.nested(s.body);
        break;
      case 'branch':
        this.line(`${s.condition ? `if ${this.text(s.condition)} ` : ''}go to L${s.label}`);
        break;
      default:
        this.transfer(s);
    }
  }

  /** True when the value depends on when it is looked at; what has a name was looked at when it got it. */
  private isReading(node: Node): boolean {
    if (this.named.has(node)) return false;
    return node.kind === Kind.LOAD || node.kind === Kind.GET || node.args.some((arg) => this.isReading(arg));
  }

  private transfer(s: Statement): void {
    switch (s.kind) {
      case 'call': {
        const text = this.call(s.target, s.args);
        if (s.result) this.name(s.result, text);
        else this.line(text);
        break;
      }
      case 'tail-call':
        this.line(`continue with ${this.call(s.target, s.args)}`);
        break;
      case 'call-indirect':
      case 'tail-call-indirect':
        this.line(`${s.kind === 'call-indirect' ? 'call' : 'continue with'} table[${this.text(s.target)}]`);
        break;
      case 'return':
        this.line(['return', ...s.values.map((value) => this.text(value))].join(' '));
        break;
      case 'memory-copy':
      case 'memory-fill':
        this.line(`${s.kind === 'memory-copy' ? 'copy' : 'fill'} ${this.text(s.length)} bytes at ${this.text(s.target)} with ${this.text(s.source)}`);
        break;
      default:
        this.line('never reached');
    }
  }

  private call(target: FunctionRef, args: readonly Node[]): string {
    const texts = args.map((arg) => this.text(arg));
    return this.names.call?.(target, texts) ?? `${target.name}(${texts.join(', ')})`;
  }

  private name(node: Node, text: string): void {
    const name = `t${this.named.size}`;
    this.line(`${name} = ${text}`);
    this.named.set(node, name);
  }

  private text(node: Node): string {
    return this.named.get(node) ?? this.compute(node);
  }

  private place(address: Node, offset: number, bytes: number): string {
    if (address.kind === Kind.PARAM) {
      const named = this.names.place?.(address.index, offset, bytes);
      if (named !== undefined) return named;
    }
    return `[${this.text(address)}${offset === 0 ? '' : ` + ${hex(offset)}`}]`;
  }

  private compute(node: Node): string {
    const args = node.args;
    switch (node.kind) {
      case Kind.PARAM:
        return this.names.parameter?.(node.index) ?? `p${node.index}`;
      case Kind.CONST:
        return node.value instanceof Uint8Array ? `{${[...node.value].join(' ')}}` : hex(node.value as number | bigint);
      case Kind.GET:
        return `v${node.index}`;
      case Kind.LOAD:
        return this.place(args[0], node.index, node.memory!.bytes);
      case Kind.SELECT:
        return `(${this.text(args[2])} ? ${this.text(args[0])} : ${this.text(args[1])})`;
      case Kind.SHUFFLE:
        return `shuffle(${this.text(args[0])}, ${this.text(args[1])}; ${[...(node.value as Uint8Array)].join(' ')})`;
      default:
        return this.operation(node);
    }
  }

  private operation(node: Node): string {
    const { name } = node.instruction!;
    const texts = node.args.map((arg) => this.text(arg));
    const operation = name.slice(name.indexOf('.') + 1);
    const infix = /^i(32|64)\./.test(name) ? INFIX[operation] : undefined;
    if (infix !== undefined && texts.length === 2) return `(${texts[0]} ${infix} ${texts[1]})`;
    if (operation === 'eqz') return `(${texts[0]} = 0)`;
    if (WIDENING.has(name)) return texts[0];
    return `${name}(${[...texts, ...(node.instruction!.lane ? [`lane ${node.index}`] : [])].join(', ')})`;
  }
}

/** True when something with an effect comes before the next line that could use the value: then its time matters. */
function effectFollows(body: readonly Statement[], i: number): boolean {
  let effects = 0;
  for (const statement of body.slice(i + 1)) if (statement.kind !== 'define') effects++;
  return effects > 1;
}
