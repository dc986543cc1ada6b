import type { Code, Val } from '@nestvm/emit';
import { type OperandSpec, vcpuState } from '@nestvm/isa';
import { Context } from '../../src/context.js';
import type { Emitter } from '../../src/emitter.js';
import type { Fields } from '../../src/fields.js';
import { markedEngine } from '../support/marked-engine.js';
import type { Form } from './forms.js';

const { offset } = vcpuState;

/** (cpu, immediate). */
export const SIGNATURE = { params: ['i32' as const, 'i64' as const], results: [] };

/** Numbers of the registers that a form names. */
const REGISTERS = { reg: 9, rm: 10, vvvv: 11, is4: 12, base: 13, index: 14 } as const;
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
const registerOf = (form: Form, role: Role): number => (form.facts.long ? REGISTERS : LEGACY_REGISTERS)[role];

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

/** Writes the code of a form for the marked engine; gives the context as its emitter left it. */
export function writeForm(code: Code, form: Form, emitter: Emitter): Context {
  const x = new Context(code, code.param(0, 32), form.facts, fieldsOf(code, form), markedEngine);
  emitter(x);
  return x;
}
