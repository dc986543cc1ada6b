import { Gpr } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { operation, type StringOperation } from './string-operation.js';
import { type Attempt, type Bulk, compare, moved, repeated, run, stored, whole } from './string-runs.js';

/** How a repeated instruction carries out many elements at once. */
type AtOnce = { readonly bulk: Bulk } | { readonly compares: 'source' | 'accumulator' };

/** Whether linear addresses are offsets, and no element can be misaligned. */
const isFlat = ({ facts: { stackSegment, segment, addressSize, aligned } }: Context): boolean =>
  stackSegment === 'none' && segment !== 'checked' && addressSize !== 16 && !aligned;

/** A string instruction: once, or repeated by its prefix. */
function stringInstruction(step: (x: Context, s: StringOperation) => void, atOnce?: AtOnce): Emitter {
  return (x) => {
    const s = operation(x);
    const { rep } = x.facts;
    if (rep === 0) return step(x, s);
    const [bulk, compares] = [atOnce && 'bulk' in atOnce ? atOnce.bulk : null, atOnce && 'compares' in atOnce ? atOnce.compares : null];
    if (bulk && isFlat(x) && x.engine.onlyWhole) return whole(x, s, bulk);
    const attempt = bulk ? (a: Attempt) => run(x, s, bulk, a) : compares && ((a: Attempt) => compare(x, s, compares === 'source', a));
    repeated(
      x,
      () => {
        step(x, s);
        if (!compares) return null;
        return rep === 1 ? x.flags.zf().xor(1) : x.flags.zf();
      },
      attempt && isFlat(x) ? attempt : undefined,
    );
  };
}

/** String instructions (SDM Vol. 1, "String Instructions"): one element is one restartable step. */
export const strings: Meanings = {
  MOVS: stringInstruction(
    (x, s) => {
      const value = x.engine.load(x, s.width, s.sourceLinear());
      x.engine.store(x, s.width, s.targetLinear(1), value);
      s.advance(Gpr.RSI);
      s.advance(Gpr.RDI);
    },
    { bulk: moved },
  ),
  STOS: stringInstruction(
    (x, s) => {
      x.engine.store(x, s.width, s.targetLinear(1), x.gpr(s.width, Gpr.RAX));
      s.advance(Gpr.RDI);
    },
    { bulk: stored },
  ),
  LODS: stringInstruction((x, s) => {
    x.setGpr(s.width, Gpr.RAX, x.engine.load(x, s.width, s.sourceLinear()));
    s.advance(Gpr.RSI);
  }),
  SCAS: stringInstruction(
    (x, s) => {
      const a = x.gpr(s.width, Gpr.RAX);
      const b = x.engine.load(x, s.width, s.targetLinear(0));
      x.flags.sub(a.sub(b), a, b);
      s.advance(Gpr.RDI);
    },
    { compares: 'accumulator' },
  ),
  CMPS: stringInstruction(
    (x, s) => {
      const a = x.engine.load(x, s.width, s.sourceLinear());
      const b = x.engine.load(x, s.width, s.targetLinear(0));
      x.flags.sub(a.sub(b), a, b);
      s.advance(Gpr.RSI);
      s.advance(Gpr.RDI);
    },
    { compares: 'source' },
  ),
};
