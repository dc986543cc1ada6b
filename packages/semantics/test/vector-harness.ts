import { buildModule, type Code, defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { type OpcodeRow, vcpuState } from '@nestvm/isa';
import { Context } from '../src/context.js';
import type { Emitter } from '../src/emitter.js';
import type { Fields } from '../src/fields.js';
import { GuestHost, PageFault } from './support/guest-host.js';
import { markedEngine } from './support/marked-engine.js';
import { plainFacts } from './support/plain-facts.js';

const { offset } = vcpuState;
/** Arena offset of the vCPU state, and of the byte that RSI (memory operands) points to. */
export const CPU = 0x1000;
export const DATA = 0x8000;
/** Register numbers of the test instructions: reg, vvvv, rm, is4; and the base of the memory form. */
export const REG = 1;
export const VVVV = 2;
export const RM = 3;
export const IS4 = 4;
export const BASE = 6;
/** What `run` gives when nothing faulted. */
export const NO_FAULT = 0xffffffff;

/** One form of one row, to be compiled. */
export interface Form {
  readonly name: string;
  readonly row: OpcodeRow;
  readonly memory: boolean;
  readonly vectorLength: 0 | 128 | 256;
  readonly operandSize: 16 | 32 | 64;
  /** Compiles the immediate in, as the JIT does; else it is a parameter. */
  readonly immediate?: number;
}

function registerOffset(method: string, n: number): number {
  if (method === 'P' || method === 'N' || method === 'Q') return offset.fpr + 16 * n;
  if (method === 'G' || method === 'E' || method === 'R' || method === 'B') return offset.gpr + 8 * n;
  return offset.vec + 64 * n;
}

function fieldsOf(code: Code, form: Form): Fields {
  const find = (methods: string): string => form.row.operands.find((o) => methods.includes(o.method))?.method ?? 'V';
  const constant = (value: number) => (): Val<32> => code.constant(32, value);
  const isIndexed = form.row.operands.some((o) => o.method === 'MV');
  const immediate = (): Val<32> =>
    form.row.operands.some((o) => o.method === 'L')
      ? code.constant(32, offset.vec + 64 * IS4)
      : form.immediate === undefined
        ? code.param(0, 32)
        : code.constant(32, form.immediate);
  return {
    reg: constant(registerOffset(find('VPG'), REG)),
    rm: constant(registerOffset(find('WUQNER'), RM)),
    vvvv: constant(registerOffset(find('HB'), VVVV)),
    base: constant(offset.gpr + 8 * BASE),
    index: constant(isIndexed ? offset.vec + 64 * RM : offset.zero),
    scale: constant(isIndexed ? 2 : 0),
    displacement: constant(0),
    segment: constant(3),
    immediate: () => immediate().zext(64),
    immediate32: immediate,
    blockOffset: constant(0),
    length: constant(4),
    targetOffset: constant(0),
  };
}

/** The function that does one form. */
function functionOf(form: Form, emitter: Emitter): FunctionDefinition {
  const facts = plainFacts(form.row, form.memory, { operandSize: form.operandSize, vectorLength: form.vectorLength });
  return defineFunction(form.name, { params: ['i32'], results: [] }, (code) => {
    const x = new Context(code, code.constant(32, CPU), facts, fieldsOf(code, form), markedEngine);
    emitter(x);
  });
}

/** Handlers compiled into one module over a small memory with one vCPU state. */
export class VectorMachine {
  readonly memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  readonly bytes = new Uint8Array(this.memory.buffer);
  readonly view = new DataView(this.memory.buffer);
  private readonly host: GuestHost;
  private readonly exports: Record<string, (immediate: number) => void>;

  constructor(forms: readonly (readonly [Form, Emitter])[], limit = 0x9000) {
    const functions = forms.map(([form, emitter]) => functionOf(form, emitter));
    const module = buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions });
    this.host = new GuestHost(this.memory.buffer, CPU, (linear, bytes) => {
      if (linear + BigInt(bytes) > BigInt(limit)) throw new PageFault();
      return Number(linear);
    });
    const compiled = new WebAssembly.Module(module);
    const instance = new WebAssembly.Instance(compiled, { env: { memory: this.memory, ...this.host.imports(compiled) } });
    this.exports = instance.exports as Record<string, (immediate: number) => void>;
    this.view.setBigUint64(CPU + offset.gpr + 8 * BASE, BigInt(DATA), true);
    this.view.setUint32(CPU + offset.mxcsr, 0x1f80, true);
  }

  /** Bytes of vector register `n` (64). */
  vector(n: number): Uint8Array {
    return this.bytes.subarray(CPU + offset.vec + 64 * n, CPU + offset.vec + 64 * (n + 1));
  }
  /** The ten bytes of x87 register `n`; MMX registers are the first eight. */
  mmx(n: number): Uint8Array {
    return this.bytes.subarray(CPU + offset.fpr + 16 * n, CPU + offset.fpr + 16 * n + 10);
  }
  /** The memory operand. */
  data(length = 64): Uint8Array {
    return this.bytes.subarray(DATA, DATA + length);
  }
  gpr(n: number): bigint {
    return this.view.getBigUint64(CPU + offset.gpr + 8 * n, true);
  }
  setGpr(n: number, value: bigint): void {
    this.view.setBigUint64(CPU + offset.gpr + 8 * n, value, true);
  }
  get32(field: keyof typeof offset): number {
    return this.view.getUint32(CPU + offset[field], true);
  }
  set32(field: keyof typeof offset, value: number): void {
    this.view.setUint32(CPU + offset[field], value, true);
  }

  /** Runs one form; the vector of the fault, or NO_FAULT. */
  run(name: string, immediate = 0): number {
    this.host.log.length = 0;
    try {
      this.exports[name]!(immediate);
    } catch (error) {
      if (error instanceof PageFault) return 14;
      throw error;
    }
    const fault = this.host.log.find((line) => line.startsWith('guest.fault'));
    return fault === undefined ? NO_FAULT : Number(fault.split(' ')[1]);
  }

  /** CF PF AF ZF SF OF at their places in RFLAGS. */
  flags(): number {
    const result = this.view.getBigUint64(CPU + offset.flagResult, true);
    const aux = this.get32('flagAux');
    const low = Number(result & 0xffn) ^ ((aux >>> 8) & 0xff);
    let parity = 1;
    for (let b = low; b !== 0; b &= b - 1) parity ^= 1;
    const cf = aux >>> 31;
    const sf = Number(result >> 63n) ^ (aux & 1);
    return cf | (parity << 2) | (((aux >>> 3) & 1) << 4) | ((result === 0n ? 1 : 0) << 6) | (sf << 7) | ((cf ^ ((aux >>> 30) & 1)) << 11);
  }
}

/** All forms of a row: register and memory, each vector length, 32- and 64-bit operand size where an integer operand depends on it. */
export function formsOf(row: OpcodeRow, immediate?: number): Form[] {
  const forms: Form[] = [];
  const { mod, l, w } = row.code;
  const memories = mod === 'any' && row.code.hasModRm ? [false, true] : [mod === 'memory'];
  const lengths = row.encoding === 'legacy' ? ([0] as const) : l === 0 ? ([128] as const) : l === 1 ? ([256] as const) : ([128, 256] as const);
  const sized = row.operands.some((o) => 'GEBR'.includes(o.method) && (o.type === 'y' || o.type === 'v'));
  const sizes = w === 1 ? ([64] as const) : w === 0 || !sized ? ([32] as const) : ([32, 64] as const);
  for (const memory of memories) {
    for (const vectorLength of lengths) {
      for (const operandSize of sizes) {
        const name = `${row.id}:${row.mnemonic} ${row.operands.map((o) => o.method + o.type).join(',')}${memory ? ' m' : ''} ${vectorLength} ${operandSize}${immediate === undefined ? '' : ` i${immediate}`}`;
        forms.push({ name, row, memory, vectorLength, operandSize, ...(immediate === undefined ? {} : { immediate }) });
      }
    }
  }
  return forms;
}
