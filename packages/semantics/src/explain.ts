import { Code, type FunctionRef, type IntWidth, importedFunction, type Val } from '@nestvm/emit';
import { explain } from '@nestvm/emit/backends';
import { vcpuState } from '@nestvm/isa';
import { Context, type Engine } from './context.js';
import { SemanticsError } from './errors.js';
import type { Facts } from './facts.js';
import type { Fields } from './fields.js';
import { meanings } from './meanings.js';

const { offset } = vcpuState;
const I = 'i32' as const;
const L = 'i64' as const;
type MemoryWidth = IntWidth | 128;

const TYPE = { 8: I, 16: I, 32: I, 64: L, 128: 'v128' } as const;
const flow = (name: string): FunctionRef => importedFunction(name, { params: [], results: [] });
const fieldCall = (name: string, type: typeof I | typeof L): FunctionRef => importedFunction(name, { params: [], results: [type] });

function leave(x: Context, target: FunctionRef, ...args: Val[]): void {
  x.code.run(target, ...args);
  x.code.return();
}

/** Memory and control flow as calls with readable names. */
const readable: Engine = {
  load: <W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Val<W> =>
    x.code.call(importedFunction(`memory${width}`, { params: [L], results: [TYPE[width]] }), width, linear),
  store: (x, width, linear, value) => x.code.run(importedFunction(`store${width}`, { params: [L, TYPE[width]], results: [] }), linear, value),
  modify: (x, width, linear) => {
    x.code.run(importedFunction('writable', { params: [L, I], results: [] }), linear, x.const(32, width / 8));
    return { read: () => readable.load(x, width, linear), write: (value) => readable.store(x, width, linear, value) };
  },
  probeWrite: (x, bytes, linear) => x.code.run(importedFunction('writable', { params: [L, I], results: [] }), linear, x.const(32, bytes)),
  hostAddress: (x) => x.const(32, 0),
  reach: (x) => x.const(32, 0),
  checkSegment: (x, segment, at, bytes, access) =>
    x.code.call(
      importedFunction(access === 1 ? 'segmentForWriting' : 'segment', { params: [I, I, I], results: [L] }),
      64,
      segment,
      at,
      x.const(32, bytes),
    ),
  fault: (x, vector, error) =>
    error === undefined
      ? leave(x, importedFunction('fault', { params: [I], results: [] }), x.const(32, vector))
      : leave(x, importedFunction('fault', { params: [I, I], results: [] }), x.const(32, vector), error),
  next: (x) => x.code.return(),
  jumpDirect: (x) => leave(x, flow('jumpToTarget')),
  fallThrough: (x) => leave(x, flow('next')),
  jumpIndirect: (x, target) => leave(x, importedFunction('jump', { params: [L], results: [] }), target),
  repeat: (x) => leave(x, flow('repeat')),
  system: (x) => leave(x, flow('fullImplementation')),
  interrupt: (x, vector) => leave(x, importedFunction('interrupt', { params: [I], results: [] }), vector),
  forgetPage: (x, linear) => x.code.run(importedFunction('forgetPage', { params: [L], results: [] }), linear),
  switchBank: (x, privilege) => x.code.run(importedFunction('translationsOf', { params: [I], results: [] }), privilege),
  time: (x) => x.code.call(fieldCall('timeStampCounter', L), 64),
  isLast: (x) => x.code.call(fieldCall('isLast', I), 32),
  isBeforeNop: (x) => x.code.call(fieldCall('isBeforeNop', I), 32),
};

const GPR = ['AX', 'CX', 'DX', 'BX', 'SP', 'BP', 'SI', 'DI'];
/** Registers that stand for the operands: reg, rm, vvvv, the fourth, base, index. */
const NUMBERS = { reg: 1, rm: 3, vvvv: 2, is4: 4, base: 6, index: 7 } as const;

function fieldsOf(code: Code, facts: Facts): Fields {
  const file = (methods: string): string | undefined => facts.row.operands.find((o) => methods.includes(o.method) && o.method !== 'MV')?.method;
  const constant = (value: number) => (): Val<32> => code.constant(32, value);
  const place = (method: string | undefined, n: number): (() => Val<32>) => {
    if (method === undefined || 'GEBRZ'.includes(method)) return constant(offset.gpr + 8 * n);
    return constant('PNQ'.includes(method) ? offset.fpr + 16 * n : method === 'STi' || method === 'S' ? n : offset.vec + 64 * n);
  };
  const call = (name: string) => (): Val<32> => code.call(fieldCall(name, I), 32);
  return {
    reg: place(file('GVPZS'), NUMBERS.reg),
    rm: facts.row.operands.some((o) => o.method === 'STi') ? constant(NUMBERS.rm) : place(file('EWRUQN'), NUMBERS.rm),
    vvvv: place(file('BH'), NUMBERS.vvvv),
    base: constant(offset.gpr + 8 * NUMBERS.base),
    index: constant(facts.row.operands.some((o) => o.method === 'MV') ? offset.vec + 64 * NUMBERS.index : offset.gpr + 8 * NUMBERS.index),
    scale: call('scale'),
    displacement: call('displacement'),
    segment: call('segmentNumber'),
    immediate: () => code.call(fieldCall('immediate', L), 64),
    immediate32: facts.row.operands.some((o) => o.method === 'L') ? constant(offset.vec + 64 * NUMBERS.is4) : call('immediate'),
    blockOffset: call('blockOffset'),
    length: call('length'),
    targetOffset: call('target'),
  };
}

/** Name of a part of the vCPU state. */
function nameOf(at: number, bytes: number): string | undefined {
  if (at < offset.gpr + 128) {
    const [n, high] = [at >>> 3, at & 7];
    const stem = GPR[n] ?? `${n}`;
    if (bytes === 8) return `R${stem}`;
    if (bytes === 4) return n < 8 ? `E${stem}` : `R${n}D`;
    if (bytes === 2) return n < 8 ? stem : `R${n}W`;
    return high === 1 ? `${stem[0]}H` : n < 4 ? `${stem[0]}L` : `${stem}L`;
  }
  if (at >= offset.vec && at < offset.vec + 2048) {
    const part = (at - offset.vec) & 63;
    return `ZMM${(at - offset.vec) >>> 6}${part === 0 && bytes === 16 ? '' : `[${part}..${part + bytes - 1}]`}`;
  }
  const field = Object.entries(offset).findLast(([, start]) => start <= at);
  return field && (at === field[1] ? field[0] : `${field[0]}[${at - field[1]}]`);
}

/**
 * What an instruction does, as pseudo-code: one line for each effect, over the vCPU state's field names, with ECX in the place of ModRM.reg's register, EBX of rm's, EDX of
 * vvvv's, RSI as base and RDI as index. Throws `no-meaning` for a row without an emitter.
 */
export function explainInstruction(facts: Facts): string[] {
  const emitter = meanings[facts.row.mnemonic];
  if (emitter === undefined)
    throw new SemanticsError('no-meaning', `${facts.row.mnemonic} has no emitter: it is carried out in TypeScript by @nestvm/cpu`);
  const code = new Code({ params: [I], results: [] });
  emitter(new Context(code, code.param(0, 32), facts, fieldsOf(code, facts), readable));
  return explain(code, {
    parameter: () => 'cpu',
    place: (_, at, bytes) => nameOf(at, bytes),
    call: ({ name }, args) => (args.length === 0 ? name : args[0] === 'cpu' ? `${name}(${args.slice(1).join(', ')})` : undefined),
  });
}
