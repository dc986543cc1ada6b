import { NUMERIC, type ValueType } from '@nestvm/wasm';
import type { Node } from '../node.js';
import { buildModule, defineFunction } from '../program.js';
import { Val } from '../val.js';

/** A run-time value: i32 and the bits of an f32 as number (int32), i64 and the bits of an f64 as bigint (int64), v128 as 16 bytes. */
export type Value = number | bigint | Uint8Array;

const RESULT = 64;
const LOAD = { i32: 'i32.load', i64: 'i64.load', f32: 'f32.load', f64: 'f64.load', v128: 'v128.load' } as const;
const STORE = { i32: 'i32.store', i64: 'i64.store', f32: 'f32.store', f64: 'f64.store', v128: 'v128.store' } as const;
const WIDTH = { i32: 32, i64: 64, f32: 'f32', f64: 'f64', v128: 128 } as const;

/** Reads a value of a type from memory. */
export function readValue(view: DataView, at: number, type: ValueType): Value {
  if (type === 'v128') return new Uint8Array(view.buffer, view.byteOffset + at, 16).slice();
  return type === 'i64' || type === 'f64' ? view.getBigInt64(at, true) : view.getInt32(at, true);
}

/** Writes a value of a type to memory. */
export function writeValue(view: DataView, at: number, type: ValueType, value: Value): void {
  if (type === 'v128') new Uint8Array(view.buffer, view.byteOffset + at, 16).set(value as Uint8Array);
  else if (type === 'i64' || type === 'f64') view.setBigInt64(at, value as bigint, true);
  else view.setInt32(at, value as number, true);
}

/**
 * Single WebAssembly instructions, each compiled alone: the engine's own arithmetic for floats and vectors, where writing it again would only add a second opinion
 * about NaNs. Operands and results go through a page of memory of its own.
 */
export class Calculator {
  private readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  private readonly view = new DataView(this.memory.buffer);
  private readonly functions = new Map<string, () => void>();

  /** Applies an instruction by name; `lane` as in its encoding. */
  apply(name: string, lane: number, args: readonly Value[]): Value {
    const { params, result } = NUMERIC[name];
    for (const [i, type] of params.entries()) writeValue(this.view, 16 * i, type, args[i]);
    const key = `${name} ${lane}`;
    let run = this.functions.get(key);
    if (run === undefined) {
      run = this.compile(name, lane);
      this.functions.set(key, run);
    }
    run();
    return readValue(this.view, RESULT, result);
  }

  private compile(name: string, lane: number): () => void {
    const { params, result } = NUMERIC[name];
    const definition = defineFunction('f', { params: [], results: [] }, (code) => {
      const zero = code.constant(32, 0);
      const args = params.map((type, i): Node => code.load(LOAD[type], WIDTH[type], zero, 16 * i).node);
      const value = code.numeric(name, args, lane);
      code.store(STORE[result], zero, new Val(code, value, WIDTH[result]), RESULT);
    });
    const module = new WebAssembly.Module(buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: [definition] }));
    return new WebAssembly.Instance(module, { env: { memory: this.memory } }).exports['f'] as () => void;
  }
}
