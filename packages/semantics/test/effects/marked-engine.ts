import { type Code, type FunctionRef, importedFunction, type Val } from '@nestvm/emit';
import { type OperandSpec, vcpuState } from '@nestvm/isa';
import { Context, type Engine } from '../../src/context.js';
import type { Emitter } from '../../src/emitter.js';
import type { Fields } from '../../src/fields.js';
import type { Form } from './forms.js';

const { offset } = vcpuState;
const I = 'i32' as const;
const L = 'i64' as const;
const LOAD = { 8: 'i32.load8_u', 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load', 128: 'v128.load' } as const;
const STORE = { 8: 'i32.store8', 16: 'i32.store16', 32: 'i32.store', 64: 'i64.store', 128: 'v128.store' } as const;

/** (cpu, immediate). */
export const SIGNATURE = { params: [I, L], results: [] };

/** What an instruction asks of an engine, as calls by name: (linear address, bytes) for memory, whose data goes through the state's scratch. */
export const Guest = {
  read: importedFunction('guest.read', { params: [L, I], results: [] }),
  write: importedFunction('guest.write', { params: [L, I], results: [] }),
  modify: importedFunction('guest.modify', { params: [L, I], results: [] }),
  /** Writes back what `modify` lent. */
  commit: importedFunction('guest.commit', { params: [], results: [] }),
  probe: importedFunction('guest.probe', { params: [L, I], results: [] }),
  /** (segment, offset, bytes, access) → linear. */
  segment: importedFunction('guest.segment', { params: [I, I, I, I], results: [L] }),
  /** (vector, error code or -1). */
  fault: importedFunction('guest.fault', { params: [I, I], results: [] }),
  jump: importedFunction('flow.jump', { params: [L], results: [] }),
  fallThrough: importedFunction('flow.fallThrough', { params: [], results: [] }),
  repeat: importedFunction('flow.repeat', { params: [], results: [] }),
  system: importedFunction('flow.system', { params: [], results: [] }),
} as const satisfies Record<string, FunctionRef>;

/** Where `modify` lends memory: apart from the scratch of loads and stores, since they may come between its read and its write. */
export const LENT = offset.extension;

const leaves = (x: Context, target: FunctionRef, ...args: Val[]): void => {
  x.code.run(target, ...args);
  x.code.return();
};

/** An engine that does nothing by itself: its calls say what was asked for. */
export const markedEngine: Engine = {
  load: (x, width, linear) => {
    x.code.run(Guest.read, linear, x.const(32, width / 8));
    return x.code.load(LOAD[width], width, x.cpu, offset.scratch);
  },
  store: (x, width, linear, value) => {
    x.code.store(STORE[width], x.cpu, value, offset.scratch);
    x.code.run(Guest.write, linear, x.const(32, width / 8));
  },
  modify: (x, width, linear) => {
    x.code.run(Guest.modify, linear, x.const(32, width / 8));
    return {
      read: () => x.code.load(LOAD[width], width, x.cpu, LENT),
      write: (value) => {
        x.code.store(STORE[width], x.cpu, value, LENT);
        x.code.run(Guest.commit);
      },
    };
  },
  probeWrite: (x, bytes, linear) => x.code.run(Guest.probe, linear, x.const(32, bytes)),
  hostAddress: (x) => x.const(32, 0),
  checkSegment: (x, segment, at, bytes, access) => x.code.call(Guest.segment, 64, segment, at, x.const(32, bytes), x.const(32, access)),
  fault: (x, vector, error) => leaves(x, Guest.fault, x.const(32, vector), error ?? x.const(32, -1)),
  next: (x) => x.code.return(),
  jumpDirect: (x) => leaves(x, Guest.jump, x.fields.targetOffset().sext(64)),
  fallThrough: (x) => leaves(x, Guest.fallThrough),
  jumpIndirect: (x, target) => leaves(x, Guest.jump, target),
  repeat: (x) => leaves(x, Guest.repeat),
  system: (x) => leaves(x, Guest.system),
  isLast: (x) => x.const(32, 0),
};

/** Numbers of the registers that a form names. */
export const REGISTERS = { reg: 9, rm: 10, vvvv: 11, is4: 12, base: 13, index: 14 } as const;
/** Those outside of 64-bit mode; only memory forms have an index, and only register forms rm. */
const LEGACY_REGISTERS = { reg: 3, rm: 6, vvvv: 7, is4: 4, base: 5, index: 6 } as const;

type Role = keyof typeof REGISTERS;
const ROLE: Readonly<Record<string, Role>> = {
  G: 'reg',
  V: 'reg',
  P: 'reg',
  Z: 'reg',
  S: 'reg',
  E: 'rm',
  R: 'rm',
  W: 'rm',
  U: 'rm',
  Q: 'rm',
  N: 'rm',
  STi: 'rm',
  B: 'vvvv',
  H: 'vvvv',
  L: 'is4',
}; // prettier-ignore
const FIXED: Readonly<Record<string, number>> = { AL: 0, AX: 0, rAX: 0, eAX: 0, CL: 1, DX: 2 };

/** Register number of a role under a form. */
export const registerOf = (form: Form, role: Role): number => (form.facts.long ? REGISTERS : LEGACY_REGISTERS)[role];

/** Where an operand's register is in the state, or null for memory, immediates and others. */
export function locationOf(
  form: Form,
  spec: OperandSpec,
): { readonly file: 'gpr' | 'vec' | 'fpr'; readonly offset: number; readonly bytes: number } | null {
  const fixed = FIXED[spec.method];
  if (fixed !== undefined) return { file: 'gpr', offset: offset.gpr + 8 * fixed, bytes: 8 };
  const role = ROLE[spec.method];
  if (role === undefined || spec.method === 'S' || spec.method === 'STi') return null;
  if (form.facts.memory && 'EWQ'.includes(spec.method)) return null;
  const n = registerOf(form, role);
  if ('GEBRZ'.includes(spec.method)) return { file: 'gpr', offset: offset.gpr + 8 * n, bytes: 8 };
  if ('PNQ'.includes(spec.method)) return { file: 'fpr', offset: offset.fpr + 16 * (n & 7), bytes: 16 };
  return { file: 'vec', offset: offset.vec + 64 * n, bytes: 64 };
}

function fieldsOf(code: Code, form: Form): Fields {
  const constant = (value: number) => (): Val<32> => code.constant(32, value);
  const of = (role: Role) => (): Val<32> => {
    const spec = form.row.operands.find((o) => ROLE[o.method] === role);
    const place = spec ? locationOf(form, spec) : null;
    if (place) return code.constant(32, place.offset);
    return code.constant(32, spec?.method === 'STi' || spec?.method === 'S' ? registerOf(form, role) & 3 : offset.gpr + 8 * registerOf(form, role));
  };
  const isGather = form.row.operands.some((o) => o.method === 'MV');
  const fromRegister = form.row.operands.some((o) => o.method === 'L');
  return {
    reg: of('reg'),
    rm: of('rm'),
    vvvv: of('vvvv'),
    base: constant(offset.gpr + 8 * registerOf(form, 'base')),
    index: constant(isGather ? offset.vec + 64 * registerOf(form, 'index') : offset.gpr + 8 * registerOf(form, 'index')),
    scale: constant(1),
    displacement: constant(0x40),
    segment: constant(3),
    immediate: () => code.param(1, 64),
    immediate32: () => (fromRegister ? code.constant(32, offset.vec + 64 * registerOf(form, 'is4')) : code.param(1, 64).trunc(32)),
    blockOffset: constant(0x10),
    length: constant(4),
    targetOffset: constant(0x40),
  };
}

/** Writes the code of a form for the marked engine. */
export function writeForm(code: Code, form: Form, emitter: Emitter): void {
  emitter(new Context(code, code.param(0, 32), form.facts, fieldsOf(code, form), markedEngine));
}
