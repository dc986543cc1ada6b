import { ByteWriter, type FunctionBody, MEMORY, type MemoryInstruction, type Signature, type ValueType } from '@nestvm/wasm';
import type { Code } from './code.js';
import { EmitError } from './errors.js';
import { type FunctionRef, Kind, type Node, type Statement } from './node.js';
import { placeValues } from './placement.js';

/** Finds the numbers that a module gave to functions and signatures. */
export interface Resolver {
  functionIndex(target: FunctionRef): number;
  typeIndex(signature: Signature): number;
}

const OP = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i64Ne: 0x52,
  i32Add: 0x6a,
  i32And: 0x71,
  i32ShrU: 0x76,
  i64Add: 0x7c,
  i64And: 0x83,
  i32WrapI64: 0xa7,
  voidBlock: 0x40,
} as const;

/** Encodes one function as WebAssembly: the body with its locals. Temporaries are recycled, since engines compile slowly with many locals. */
export function encodeFunction(code: Code, resolver: Resolver): FunctionBody {
  placeValues(code.body);
  return new Encoder(code, resolver).run();
}

class Encoder {
  private readonly out = new ByteWriter();
  private readonly locals: ValueType[] = [];
  private readonly free: Record<ValueType, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  private readonly variableLocal: number[] = [];
  /** Open labels, innermost last; -1 for an `if`. */
  private readonly labels: number[] = [];
  private loopDepth = 0;
  /** Locals that may be reused once the loop around is left. */
  private readonly deferred: Node[][] = [[]];
  private readonly parameterCount: number;

  constructor(
    private readonly code: Code,
    private readonly resolver: Resolver,
  ) {
    this.parameterCount = code.signature.params.length;
  }

  run(): FunctionBody {
    this.block(this.code.body);
    const last = this.code.body[this.code.body.length - 1]?.kind;
    if (this.code.signature.results.length > 0 && last !== 'return') this.out.byte(OP.unreachable);
    this.out.byte(OP.end);
    return { locals: this.locals, code: this.out.take() };
  }

  private newLocal(type: ValueType): number {
    return this.free[type].pop() ?? this.freshLocal(type);
  }

  private freshLocal(type: ValueType): number {
    this.locals.push(type);
    return this.parameterCount + this.locals.length - 1;
  }

  /** In a loop a variable cannot have the local of a temporary that was done with: the next turn would use both. */
  private variable(index: number): number {
    const type = this.code.variables[index];
    this.variableLocal[index] ??= this.loopDepth === 0 ? this.newLocal(type) : this.freshLocal(type);
    return this.variableLocal[index];
  }

  private emit(opcode: number, operand: number): void {
    this.out.byte(opcode);
    this.out.unsigned(operand);
  }

  /** Keeps the value on the stack in a local, if anything will use it. */
  private keep(node: Node): void {
    if (node.left === 0) return this.out.byte(OP.drop);
    node.local = this.newLocal(node.type);
    node.depth = this.loopDepth;
    this.emit(OP.localSet, node.local);
  }

  private used(node: Node): void {
    if (--node.left > 0) return;
    if (node.depth === this.loopDepth) this.free[node.type].push(node.local);
    else this.deferred[node.depth].push(node);
  }

  /** Computes a value onto the stack. */
  private value(node: Node): void {
    const { out } = this;
    if (node.local >= 0) {
      this.emit(OP.localGet, node.local);
      return this.used(node);
    }
    switch (node.kind) {
      case Kind.PARAM:
        return this.emit(OP.localGet, node.index);
      case Kind.CONST:
        return this.constant(node);
      case Kind.GET:
        return this.emit(OP.localGet, this.variable(node.index));
      case Kind.RESULT:
        throw new EmitError('unresolved', 'the result of a call is used before the call, or outside of its block');
    }
    for (const arg of node.args) this.value(arg);
    if (node.kind === Kind.LOAD) return this.memory(node.memory as MemoryInstruction, node.index);
    if (node.kind === Kind.SELECT) {
      if (node.type !== 'v128') return out.byte(OP.select);
      return out.bytes([0x1c, 1, 0x7b]);
    }
    if (node.kind === Kind.SHUFFLE) {
      this.opcode(0xfd, 13);
      return out.bytes(node.value as Uint8Array);
    }
    const instruction = node.instruction!;
    this.opcode(instruction.prefix, instruction.opcode);
    if (instruction.lane) out.byte(node.index);
  }

  private opcode(prefix: number, opcode: number): void {
    if (prefix === 0) return this.out.byte(opcode);
    this.out.byte(prefix);
    this.out.unsigned(opcode);
  }

  private memory(instruction: MemoryInstruction, offset: number): void {
    this.opcode(instruction.prefix, instruction.opcode);
    this.out.unsigned(instruction.align);
    this.out.unsigned(offset);
  }

  private constant(node: Node): void {
    const { out } = this;
    switch (node.type) {
      case 'i32':
        out.byte(OP.i32Const);
        return out.signed(node.value as number);
      case 'i64':
        out.byte(OP.i64Const);
        return out.signed64(node.value as bigint);
      case 'v128':
        this.opcode(0xfd, 12);
        return out.bytes(node.value as Uint8Array);
      default: {
        const is32 = node.type === 'f32';
        out.byte(is32 ? OP.f32Const : OP.f64Const);
        const number = node.value as number;
        return out.bytes(new Uint8Array(is32 ? new Float32Array([number]).buffer : new Float64Array([number]).buffer));
      }
    }
  }

  private block(statements: readonly Statement[]): void {
    for (const statement of statements) this.statement(statement);
  }

  private statement(statement: Statement): void {
    if (statement.kind === 'block' && statement.body.length === 0) return;
    switch (statement.kind) {
      case 'define': {
        const { node } = statement;
        if (!node.pinned || node.left === 0) return;
        this.value(node);
        return this.keep(node);
      }
      case 'store':
        this.value(statement.address);
        this.value(statement.value);
        return this.memory(statement.memory, statement.offset);
      case 'set':
        this.value(statement.value);
        return this.emit(OP.localSet, this.variable(statement.variable));
      case 'return':
        for (const value of statement.values) this.value(value);
        return this.out.byte(OP.return);
      case 'unreachable':
        return this.out.byte(OP.unreachable);
      case 'memory-copy':
      case 'memory-fill':
        for (const node of [statement.target, statement.source, statement.length]) this.value(node);
        this.opcode(0xfc, statement.kind === 'memory-copy' ? 10 : 11);
        return this.out.bytes(statement.kind === 'memory-copy' ? [0, 0] : [0]);
      case 'look-up':
        return this.lookUp(statement);
      case 'if':
      case 'block':
      case 'loop':
      case 'branch':
      case 'branch-table':
        return this.control(statement);
      default:
        return this.calls(statement);
    }
  }

  private calls(statement: Extract<Statement, { args: readonly Node[] }>): void {
    for (const arg of statement.args) this.value(arg);
    switch (statement.kind) {
      case 'call':
        this.emit(OP.call, this.resolver.functionIndex(statement.target));
        if (statement.result) this.keep(statement.result);
        return;
      case 'tail-call':
        return this.emit(OP.returnCall, this.resolver.functionIndex(statement.target));
      default:
        this.value(statement.target);
        this.emit(statement.kind === 'call-indirect' ? OP.callIndirect : OP.returnCallIndirect, this.resolver.typeIndex(statement.signature));
        return this.out.byte(0);
    }
  }

  private control(statement: Extract<Statement, { kind: 'if' | 'block' | 'loop' | 'branch' | 'branch-table' }>): void {
    const { out } = this;
    switch (statement.kind) {
      case 'if':
        this.value(statement.condition);
        this.open(OP.if);
        this.labels.push(-1);
        this.block(statement.then);
        if (statement.otherwise.length > 0) {
          out.byte(OP.else);
          this.block(statement.otherwise);
        }
        break;
      case 'block':
        this.open(OP.block);
        this.labels.push(statement.label);
        this.block(statement.body);
        break;
      case 'loop':
        this.loop(statement);
        break;
      case 'branch': {
        if (statement.condition) this.value(statement.condition);
        return this.emit(statement.condition ? OP.brIf : OP.br, this.depthOf(statement.label));
      }
      case 'branch-table':
        this.value(statement.index);
        this.emit(OP.brTable, statement.labels.length);
        for (const label of statement.labels) out.unsigned(this.depthOf(label));
        return out.unsigned(this.depthOf(statement.otherwise));
    }
    this.labels.pop();
    out.byte(OP.end);
  }

  /** Puts a key onto the stack; gives a local that holds it too. */
  private lookUpKey(key: Node): number {
    if (key.kind === Kind.GET && key.local < 0) {
      const local = this.variable(key.index);
      this.emit(OP.localGet, local);
      return local;
    }
    this.value(key);
    const local = this.newLocal('i64');
    this.emit(OP.localTee, local);
    return local;
  }

  private lookUp({ key, table, form, miss, result }: Extract<Statement, { kind: 'look-up' }>): void {
    const { out } = this;
    const local = this.lookUpKey(key);
    out.byte(OP.i32WrapI64);
    if (form.bias !== 0) {
      this.i32(form.bias);
      out.byte(OP.i32Add);
    }
    this.i32(form.shift);
    out.byte(OP.i32ShrU);
    this.i32(form.mask);
    out.byte(OP.i32And);
    this.emit(OP.localGet, this.variable(table));
    out.byte(OP.i32Add);
    const entry = this.newLocal('i32');
    this.emit(OP.localTee, entry);
    this.memory(MEMORY['i64.load'], 0);
    this.emit(OP.localGet, local);
    if (form.bias + form.span !== 0) {
      this.i64(form.bias + form.span);
      out.byte(OP.i64Add);
    }
    this.i64(form.tagMask);
    out.byte(OP.i64And);
    out.byte(OP.i64Ne);
    this.open(OP.if);
    this.labels.push(-1);
    this.block(miss);
    this.labels.pop();
    out.byte(OP.end);
    this.free.i32.push(entry);
    if (key.kind !== Kind.GET || key.local >= 0) this.free.i64.push(local);
    if (result.left === 0) return;
    this.emit(OP.localGet, entry);
    this.memory(MEMORY['i32.load'], form.addend);
    this.emit(OP.localGet, local);
    out.byte(OP.i32WrapI64);
    out.byte(OP.i32Add);
    this.keep(result);
  }

  private i32(value: number): void {
    this.out.byte(OP.i32Const);
    this.out.signed(value);
  }

  private i64(value: number): void {
    this.out.byte(OP.i64Const);
    this.out.signed(value);
  }

  private open(opcode: number): void {
    this.out.byte(opcode);
    this.out.byte(OP.voidBlock);
  }

  private depthOf(label: number): number {
    return this.labels.length - 1 - this.labels.lastIndexOf(label);
  }

  private loop(statement: Extract<Statement, { kind: 'loop' }>): void {
    this.open(OP.loop);
    this.labels.push(statement.label);
    this.loopDepth++;
    this.deferred[this.loopDepth] ??= [];
    this.block(statement.body);
    this.loopDepth--;
    for (const node of this.deferred[this.loopDepth]) this.free[node.type].push(node.local);
    this.deferred[this.loopDepth].length = 0;
  }
}
