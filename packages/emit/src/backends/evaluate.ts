import type { MemoryInstruction } from '@nestvm/wasm';
import { Code } from '../code.js';
import { EmitError } from '../errors.js';
import { type FunctionRef, Kind, type Node, type Statement } from '../node.js';
import type { FunctionDefinition } from '../program.js';
import { Calculator, readValue, type Value, writeValue } from './calculator.js';
import { scalarOperations } from './scalar.js';

/** What is around the code that is evaluated. */
export interface Surroundings {
  readonly memory: ArrayBufferLike;
  /** Calls of functions without a definition; gives their result, if they have one. */
  readonly host?: (target: FunctionRef, args: readonly Value[]) => Value | undefined;
  /** Calls through the table. */
  readonly indirect?: (target: number, args: readonly Value[]) => void;
}

/** One call in progress. */
interface Frame {
  readonly args: readonly Value[];
  readonly values: Map<Node, Value>;
  readonly variables: Value[];
  result: Value | undefined;
}

/** How a run of statements ended: at its end, by `return`, or by a branch to the label of that number. */
type Ending = 'end' | 'return' | number;

const floats = new DataView(new ArrayBuffer(8));

function constantValue(node: Node): Value {
  const { type, value } = node;
  if (type === 'f32') {
    floats.setFloat32(0, value as number);
    return floats.getInt32(0);
  }
  if (type === 'f64') {
    floats.setFloat64(0, value as number);
    return floats.getBigInt64(0);
  }
  return value as Value;
}

/** Bytes of an access as a little-endian number. */
function readBytes(view: DataView, at: number, count: number): bigint {
  let sum = 0n;
  for (let i = count - 1; i >= 0; i--) sum = (sum << 8n) | BigInt(view.getUint8(at + i));
  return sum;
}

function splat(view: DataView, at: number, bytes: number): Uint8Array {
  return Uint8Array.from({ length: 16 }, (_, i) => view.getUint8(at + (i % bytes)));
}

/**
 * Carries out functions statement by statement, in plain TypeScript: slow, but each value can be looked at on the way. An oracle for what the encoder makes of
 * the same code, and a way to step through an emitter.
 */
export class Evaluator {
  private readonly view: DataView;
  private readonly calculator = new Calculator();
  private readonly codes = new Map<FunctionRef, Code>();

  constructor(private readonly surroundings: Surroundings) {
    this.view = new DataView(surroundings.memory);
  }

  /** Calls a function: evaluates its definition, or asks the host. Gives its result, if it has one. */
  call(target: FunctionRef | FunctionDefinition, args: readonly Value[]): Value | undefined {
    if (!('write' in target)) {
      if (this.surroundings.host === undefined) throw new EmitError('unresolved', `nobody supplies ${target.name}: give a host`);
      return this.surroundings.host(target, args);
    }
    let code = this.codes.get(target);
    if (code === undefined) {
      code = new Code(target.signature);
      target.write(code);
      this.codes.set(target, code);
    }
    return this.run(code, args);
  }

  /** Evaluates a function's body. */
  run(code: Code, args: readonly Value[]): Value | undefined {
    const variables = code.variables.map((type): Value => (type === 'v128' ? new Uint8Array(16) : type === 'i64' || type === 'f64' ? 0n : 0));
    const frame: Frame = { args, values: new Map(), variables, result: undefined };
    this.statements(code.body, frame);
    return frame.result;
  }

  private statements(list: readonly Statement[], frame: Frame): Ending {
    for (const statement of list) {
      const ending = this.statement(statement, frame);
      if (ending !== 'end') return ending;
    }
    return 'end';
  }

  private statement(s: Statement, frame: Frame): Ending {
    switch (s.kind) {
      case 'define':
        frame.values.set(s.node, this.compute(s.node, frame));
        return 'end';
      case 'store':
        this.store(s.memory, this.address(s.address, s.offset, frame), this.value(s.value, frame));
        return 'end';
      case 'set':
        frame.variables[s.variable] = this.value(s.value, frame);
        return 'end';
      case 'if':
        return this.statements(this.value(s.condition, frame) !== 0 ? s.then : s.otherwise, frame);
      case 'block': {
        const ending = this.statements(s.body, frame);
        return ending === s.label ? 'end' : ending;
      }
      case 'loop':
        return this.loop(s.label, s.body, frame);
      case 'branch':
        return s.condition === null || this.value(s.condition, frame) !== 0 ? s.label : 'end';
      case 'memory-copy':
      case 'memory-fill':
        this.bulk(s, frame);
        return 'end';
      case 'unreachable':
        throw new EmitError('unresolved', 'code that says it is never reached was reached');
      default:
        return this.transfer(s, frame);
    }
  }

  /** Calls and returns. */
  private transfer(s: Statement, frame: Frame): Ending {
    const values = (nodes: readonly Node[]): Value[] => nodes.map((node) => this.value(node, frame));
    switch (s.kind) {
      case 'call': {
        const result = this.call(s.target, values(s.args));
        if (s.result) frame.values.set(s.result, result as Value);
        return 'end';
      }
      case 'tail-call':
        frame.result = this.call(s.target, values(s.args));
        return 'return';
      case 'call-indirect':
      case 'tail-call-indirect':
        this.surroundings.indirect?.(this.value(s.target, frame) as number, values(s.args));
        return s.kind === 'call-indirect' ? 'end' : 'return';
      case 'return':
        frame.result = values(s.values)[0];
        return 'return';
      default:
        return 'end';
    }
  }

  private loop(label: number, body: readonly Statement[], frame: Frame): Ending {
    for (;;) {
      const ending = this.statements(body, frame);
      if (ending !== label) return ending;
    }
  }

  private bulk(s: Extract<Statement, { kind: 'memory-copy' | 'memory-fill' }>, frame: Frame): void {
    const bytes = new Uint8Array(this.surroundings.memory);
    const [target, source, length] = [s.target, s.source, s.length].map((node) => (this.value(node, frame) as number) >>> 0);
    if (s.kind === 'memory-copy') bytes.copyWithin(target, source, source + length);
    else bytes.fill(source & 0xff, target, target + length);
  }

  private address(node: Node, offset: number, frame: Frame): number {
    return ((this.value(node, frame) as number) >>> 0) + offset;
  }

  /** The value of a node that has been computed, or needs no computation. */
  private value(node: Node, frame: Frame): Value {
    if (node.kind === Kind.PARAM) return frame.args[node.index];
    if (node.kind === Kind.CONST) return constantValue(node);
    const value = frame.values.get(node);
    if (value === undefined) throw new EmitError('unresolved', 'a value is used before it is computed, or outside of its block');
    return value;
  }

  private compute(node: Node, frame: Frame): Value {
    const args = node.args.map((arg) => this.value(arg, frame));
    switch (node.kind) {
      case Kind.GET:
        return frame.variables[node.index];
      case Kind.SELECT:
        return args[2] !== 0 ? args[0] : args[1];
      case Kind.LOAD:
        return this.load(node.memory!, ((args[0] as number) >>> 0) + node.index);
      case Kind.SHUFFLE: {
        const both = [...(args[0] as Uint8Array), ...(args[1] as Uint8Array)];
        return Uint8Array.from(node.value as Uint8Array, (lane) => both[lane]);
      }
      default: {
        const { name } = node.instruction!;
        const scalar = scalarOperations.get(name) as ((...operands: Value[]) => Value) | undefined;
        return scalar ? scalar(...args) : this.calculator.apply(name, node.index, args);
      }
    }
  }

  private load({ name, type, bytes }: MemoryInstruction, at: number): Value {
    const { view } = this;
    if (name.endsWith('_splat')) return splat(view, at, bytes);
    if (name.endsWith('_zero')) return Uint8Array.from({ length: 16 }, (_, i) => (i < bytes ? view.getUint8(at + i) : 0));
    if (/load\d/.test(name)) {
      const raw = readBytes(view, at, bytes);
      const value = name.endsWith('_s') ? BigInt.asIntN(8 * bytes, raw) : raw;
      return type === 'i64' ? BigInt.asIntN(64, value) : Number(BigInt.asIntN(32, value));
    }
    return readValue(view, at, type);
  }

  private store({ name, type, bytes }: MemoryInstruction, at: number, value: Value): void {
    if (!/store\d/.test(name)) return writeValue(this.view, at, type, value);
    for (let i = 0; i < bytes; i++) this.view.setUint8(at + i, Number((BigInt(value as number | bigint) >> BigInt(8 * i)) & 0xffn));
  }
}
