import { MEMORY, type Signature, type ValueType } from '@nestvm/wasm';
import { EmitError } from './errors.js';
import { fold, operationOf } from './fold.js';
import { type FunctionRef, Kind, type LookUpForm, type Node, type Statement } from './node.js';
import { Val, type Width } from './val.js';

const TYPE_OF: Record<string, ValueType> = { 8: 'i32', 16: 'i32', 32: 'i32', 64: 'i64', 128: 'v128', f32: 'f32', f64: 'f64' };
/** Natural width of a value of a WebAssembly type. */
const WIDTH_OF = { i32: 32, i64: 64, v128: 128, f32: 'f32', f64: 'f64' } as const;

/** The WebAssembly type that holds values of a width. */
export const typeOfWidth = (width: Width): ValueType => TYPE_OF[width];

/** Names of the instructions that load and store so many bits, narrow ones without a sign: for `Code.load` and `Code.store` (WebAssembly, "Memory Instructions"). */
export const LOAD = { 8: 'i32.load8_u', 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load', 128: 'v128.load' } as const;
/** See {@link LOAD}. */
export const STORE = { 8: 'i32.store8', 16: 'i32.store16', 32: 'i32.store', 64: 'i64.store', 128: 'v128.store' } as const;

const NO_ARGS: readonly Node[] = [];

/** Small constants, which most are, as 64-bit values: making one each time costs more than the rest of a node. */
const SMALL: readonly bigint[] = Array.from({ length: 4096 }, (_, value) => BigInt(value));

function wide(value: number | bigint): bigint {
  if (typeof value === 'number') return SMALL[value] ?? BigInt.asIntN(64, BigInt(value));
  return BigInt.asIntN(64, value);
}

/** A mutable value inside one function. */
export class Variable<W extends Width> {
  constructor(
    private readonly code: Code,
    readonly index: number,
    readonly width: W,
  ) {}
  /** Its value at this point. */
  get(): Val<W> {
    return this.code.getVariable(this);
  }
  set(value: Val<W>): void {
    this.code.setVariable(this, value);
  }
}

/** Leaves a block or repeats a loop: always, or when the condition is not zero. */
export type Branch = (condition?: Val<32>) => void;

/**
 * One function being written: statements in order, over values that are evaluated once, where they were made.
 * A backend turns it into something: `encodeFunction` into WebAssembly.
 */
export class Code {
  /** The statements of the function's body. */
  readonly body: Statement[] = [];
  protected statements: Statement[] = this.body;
  private labels = 0;
  private readonly branchLabels = new Map<Branch, number>();
  /** Functions that it calls, by name, in the order in which they were called first. */
  readonly called = new Map<string, FunctionRef>();
  /** Types of the variables, by index. */
  readonly variables: ValueType[] = [];
  private readonly parameters: Node[];

  constructor(readonly signature: Signature) {
    this.parameters = signature.params.map((type, index) => this.node(Kind.PARAM, type, NO_ARGS, index, null));
  }

  /** The i-th parameter. */
  param<W extends Width>(index: number, width: W): Val<W> {
    return new Val(this, this.parameters[index], width);
  }

  private node(
    kind: number,
    type: ValueType,
    args: readonly Node[],
    index: number,
    value: Node['value'],
    instruction: Node['instruction'] = null,
    memory: Node['memory'] = null,
  ): Node {
    for (const arg of args) arg.uses++;
    return {
      kind,
      type,
      args,
      instruction,
      memory,
      index,
      value,
      born: 0,
      uses: 0,
      wanted: 0,
      common: 0,
      pinned: false,
      local: -1,
      left: 0,
      depth: 0,
    };
  }

  private define(node: Node): Node {
    this.statements.push({ kind: 'define', node });
    return node;
  }

  private push(statement: Statement): void {
    this.statements.push(statement);
  }

  /** A constant; narrow integers are masked, 64-bit ones may be given as number or bigint. */
  constant<W extends Width>(width: W, value: number | bigint): Val<W> {
    const type = typeOfWidth(width);
    let exact: number | bigint = value;
    if (type === 'i64') exact = wide(value);
    else if (type === 'i32' && typeof value === 'number' && (value | 0) === value) exact = value & (width === 8 ? 0xff : width === 16 ? 0xffff : -1);
    else if (type === 'i32') exact = Number(BigInt.asIntN(32, BigInt(value))) & (width === 8 ? 0xff : width === 16 ? 0xffff : -1);
    else exact = Number(value);
    return new Val(this, this.node(Kind.CONST, type, NO_ARGS, 0, exact), width);
  }

  /** A 128-bit constant of 16 bytes, lowest first. */
  constant128(value: Uint8Array): Val<128> {
    if (value.length !== 16) throw new EmitError('bad-constant', `a v128 constant has 16 bytes, not ${value.length}`);
    return new Val(this, this.node(Kind.CONST, 'v128', NO_ARGS, 0, value), 128);
  }

  /** A constant of another one's type: see `FoldHost`. */
  constantLike(like: Node, value: number | bigint): Node {
    return this.constant(WIDTH_OF[like.type], value).node;
  }

  /** Any numeric instruction over nodes, folded where possible. */
  numeric(name: string, args: readonly Node[], lane = 0): Node {
    const operation = operationOf(name);
    if (operation === undefined) throw new EmitError('unknown-instruction', `no numeric WebAssembly instruction is called ${name}`);
    const { instruction } = operation;
    const { params } = instruction;
    if (params.length !== args.length || params[0] !== args[0]?.type || params[1] !== args[1]?.type) {
      if (params.length !== args.length || params.some((type, i) => type !== args[i]?.type))
        throw new EmitError('type-mismatch', `${name} takes (${params.join(', ')}), not (${args.map((a) => a.type).join(', ')})`);
    }
    const folded = fold(operation, args, this);
    if (folded !== null) return typeof folded === 'object' ? folded : this.constant(WIDTH_OF[instruction.result], folded).node;
    return this.define(this.node(Kind.OP, instruction.result, args, lane, null, instruction));
  }

  /** Any numeric or vector instruction by its WebAssembly name: `op('i16x8.add', 128, a, b)`. */
  op<W extends Width>(name: string, width: W, ...args: Val[]): Val<W> {
    return new Val(
      this,
      this.numeric(
        name,
        args.map((a) => a.node),
      ),
      width,
    );
  }

  /** A vector instruction with a lane number: `lane('i32x4.extract_lane', 32, 2, v)`. */
  lane<W extends Width>(name: string, width: W, lane: number, ...args: Val[]): Val<W> {
    return new Val(
      this,
      this.numeric(
        name,
        args.map((a) => a.node),
        lane,
      ),
      width,
    );
  }

  /** i8x16.shuffle: byte i of the result is byte lanes[i] of a followed by b. */
  shuffle(lanes: readonly number[], a: Val<128>, b: Val<128>): Val<128> {
    return new Val(this, this.define(this.node(Kind.SHUFFLE, 'v128', [a.node, b.node], 0, Uint8Array.from(lanes))), 128);
  }

  /** `condition` not zero ? a : b; both are evaluated. */
  select<W extends Width>(condition: Val<32>, a: Val<W>, b: Val<W>): Val<W> {
    return new Val(this, this.define(this.node(Kind.SELECT, a.node.type, [a.node, b.node, condition.node], 0, null)), a.width);
  }

  /** A load of linear memory by its WebAssembly name; the width is that of the result. */
  load<W extends Width>(name: string, width: W, address: Val<32>, offset = 0): Val<W> {
    const memory = MEMORY[name];
    return new Val(this, this.define(this.node(Kind.LOAD, memory.type, [address.node], offset, null, null, memory)), width);
  }

  /** A store to linear memory by its WebAssembly name. */
  store(name: string, address: Val<32>, value: Val, offset = 0): void {
    const memory = MEMORY[name];
    if (memory.type !== value.node.type) throw new EmitError('type-mismatch', `${name} stores ${memory.type}, not ${value.node.type}`);
    address.node.uses++;
    value.node.uses++;
    this.push({ kind: 'store', memory, address: address.node, offset, value: value.node });
  }

  /** A mutable variable with a first value. */
  variable<W extends Width>(initial: Val<W>): Variable<W> {
    this.variables.push(initial.node.type);
    const variable = new Variable(this, this.variables.length - 1, initial.width);
    this.setVariable(variable, initial);
    return variable;
  }

  /** A mutable variable without a first value: zero until it is set. */
  declare<W extends Width>(width: W): Variable<W> {
    this.variables.push(typeOfWidth(width));
    return new Variable(this, this.variables.length - 1, width);
  }

  /** See `Variable.get`. */
  getVariable<W extends Width>(variable: Variable<W>): Val<W> {
    return new Val(this, this.define(this.node(Kind.GET, this.variables[variable.index], NO_ARGS, variable.index, null)), variable.width);
  }

  /** See `Variable.set`. */
  setVariable<W extends Width>(variable: Variable<W>, value: Val<W>): void {
    if (this.variables[variable.index] !== value.node.type)
      throw new EmitError('type-mismatch', `the variable holds ${this.variables[variable.index]}, not ${value.node.type}`);
    value.node.uses++;
    this.push({ kind: 'set', variable: variable.index, value: value.node });
  }

  /** Calls a function; its result has the width given. */
  call<W extends Width>(target: FunctionRef, width: W, ...args: Val[]): Val<W> {
    const result = this.callNode(target, args);
    if (result === null) throw new EmitError('no-result', `${target.name} returns nothing: use run()`);
    return new Val(this, result, width);
  }

  /** Calls a function for its effect. */
  run(target: FunctionRef, ...args: Val[]): void {
    this.callNode(target, args);
  }

  protected callNode(target: FunctionRef, args: readonly Val[]): Node | null {
    const { params, results } = target.signature;
    if (params.length !== args.length || params.some((type, i) => type !== args[i].node.type)) {
      throw new EmitError('type-mismatch', `${target.name} takes (${params.join(', ')}), not (${args.map((a) => a.node.type).join(', ')})`);
    }
    for (const arg of args) arg.node.uses++;
    this.called.set(target.name, target);
    const result = results.length > 0 ? this.node(Kind.RESULT, results[0], NO_ARGS, 0, null) : null;
    this.statements.push({ kind: 'call', target, args: args.map((a) => a.node), result });
    return result;
  }

  protected nested(write: () => void): Statement[] {
    const outer = this.statements;
    const inner: Statement[] = [];
    this.statements = inner;
    write();
    this.statements = outer;
    return inner;
  }

  /** Runs one of two pieces of code. */
  if(condition: Val<32>, then: () => void, otherwise?: () => void): void {
    if (condition.node.kind === Kind.CONST) {
      if (condition.node.value !== 0) then();
      else otherwise?.();
      return;
    }
    condition.node.uses++;
    const thenStatements = this.nested(then);
    const otherStatements = otherwise ? this.nested(otherwise) : [];
    this.push({ kind: 'if', condition: condition.node, then: thenStatements, otherwise: otherStatements });
  }

  /** Code that hardly ever runs, under a condition: what only such code uses is computed there, each time, and not before. */
  rarely(condition: Val<32>, write: () => void): void {
    condition.node.uses++;
    const then = this.nested(write);
    this.push({ kind: 'if', condition: condition.node, then, otherwise: [], rare: true });
  }

  /**
   * Looks a key up in a table of tagged entries, whose address is in a variable: gives the low half of the key plus the entry's addend. Where the entry has another
   * tag `miss` is run, which must leave; it hardly ever is. One statement, since compiled code consists of such look-ups to a large part.
   */
  lookUp(key: Val<64>, table: Variable<32>, form: LookUpForm, miss: () => void): Val<32> {
    key.node.uses++;
    const result = this.node(Kind.RESULT, 'i32', NO_ARGS, 0, null);
    this.push({ kind: 'look-up', key: key.node, table: table.index, form, miss: this.nested(miss), result });
    return new Val(this, result, 32);
  }

  /** A value that only one of two pieces of code computes. */
  choose<W extends Width>(condition: Val<32>, width: W, a: () => Val<W>, b: () => Val<W>): Val<W> {
    const result = this.declare(width);
    this.if(
      condition,
      () => result.set(a()),
      () => result.set(b()),
    );
    return result.get();
  }

  private brancher(label: number): Branch {
    const branch: Branch = (condition) => {
      if (condition) condition.node.uses++;
      this.push({ kind: 'branch', label, condition: condition?.node ?? null });
    };
    this.branchLabels.set(branch, label);
    return branch;
  }

  /** Code that can be left early. */
  block(write: (leave: Branch) => void): void {
    const label = this.labels++;
    const body = this.nested(() => write(this.brancher(label)));
    this.push({ kind: 'block', label, body });
  }

  /** Code that starts again when told; falling off its end leaves it. */
  loop(write: (again: Branch) => void): void {
    const label = this.labels++;
    const body = this.nested(() => write(this.brancher(label)));
    this.push({ kind: 'loop', label, body });
  }

  /** Repeats `body` while the condition, evaluated before each turn, is not zero. */
  while(condition: () => Val<32>, body: () => void): void {
    this.block((leave) => {
      this.loop((again) => {
        leave(condition().isZero());
        body();
        again();
      });
    });
  }

  /**
   * Leaves the block or repeats the loop that `index` chooses; the last target is taken when there is none. Targets are what `block` and `loop` hand out.
   */
  branchTable(index: Val<32>, targets: readonly Branch[]): void {
    index.node.uses++;
    const labels = targets.map((target) => this.branchLabels.get(target) as number);
    this.push({ kind: 'branch-table', labels: labels.slice(0, -1), otherwise: labels[labels.length - 1], index: index.node });
  }

  /** A place in the code that is written later, when more is known: the result writes there. */
  later(): (write: () => void) => void {
    const body: Statement[] = [];
    this.push({ kind: 'block', label: this.labels++, body });
    return (write) => {
      const outer = this.statements;
      this.statements = body;
      write();
      this.statements = outer;
    };
  }

  /** Leaves the function. */
  return(...values: Val[]): void {
    for (const value of values) value.node.uses++;
    this.push({ kind: 'return', values: values.map((v) => v.node) });
  }

  /** Leaves the function through a call of the table's function `target`. */
  tailCallIndirect(signature: Signature, target: Val<32>, ...args: Val[]): void {
    target.node.uses++;
    for (const arg of args) arg.node.uses++;
    this.push({ kind: 'tail-call-indirect', signature, args: args.map((a) => a.node), target: target.node });
  }

  /** Leaves the function through a call of another one. */
  tailCall(target: FunctionRef, ...args: Val[]): void {
    for (const arg of args) arg.node.uses++;
    this.called.set(target.name, target);
    this.push({ kind: 'tail-call', target, args: args.map((a) => a.node) });
  }

  /** Calls the table's function `target`, which returns nothing. */
  callIndirect(signature: Signature, target: Val<32>, ...args: Val[]): void {
    target.node.uses++;
    for (const arg of args) arg.node.uses++;
    this.push({ kind: 'call-indirect', signature, args: args.map((a) => a.node), target: target.node });
  }

  private bulk(kind: 'memory-copy' | 'memory-fill', target: Val<32>, source: Val, length: Val<32>): void {
    for (const value of [target, source, length]) value.node.uses++;
    this.push({ kind, target: target.node, source: source.node, length: length.node });
  }

  /** memory.copy: as if through a buffer. */
  copyMemory(target: Val<32>, source: Val<32>, length: Val<32>): void {
    this.bulk('memory-copy', target, source, length);
  }

  /** memory.fill with the low byte of `value`. */
  fillMemory(target: Val<32>, value: Val<32>, length: Val<32>): void {
    this.bulk('memory-fill', target, value, length);
  }

  /** Says that this point is never reached. */
  unreachable(): void {
    this.push({ kind: 'unreachable' });
  }
}
