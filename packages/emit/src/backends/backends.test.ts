import { describe, expect, it } from 'vitest';
import { Code } from '../code.js';
import { buildModule, defineFunction, importedFunction } from '../program.js';
import { type EffectRules, Evaluator, effectsOf, explain } from './index.js';

const I = 'i32' as const;
const load = importedFunction('load', { params: ['i64', I], results: [I] });
const store = importedFunction('store', { params: ['i64', I], results: [] });
const probe = importedFunction('probe', { params: ['i64', I], results: [] });
const rules: EffectRules = {
  call: ({ name }) => ({ load: 'check', store: 'write', probe: 'probe' })[name] as 'check' | 'write' | 'probe' | undefined,
  range: { address: 0, bytes: 1 },
  state: 0,
  isScratch: (offset) => offset >= 100,
  restarts: false,
};
const written = (write: (c: Code) => void): Code => {
  const code = new Code({ params: [I, 'i64'], results: [] });
  write(code);
  return code;
};

describe('Evaluator', () => {
  it('does what the encoded function does, with loops, calls, vectors and narrow memory', () => {
    const square = defineFunction('square', { params: ['i64'], results: ['i64'] }, (c) => c.return(c.param(0, 64).mul(c.param(0, 64))));
    const f = defineFunction('f', { params: [I], results: [I] }, (c) => {
      const total = c.variable(c.constant(64, 0));
      const n = c.variable(c.param(0, 32));
      c.while(
        () => n.get().gtS(0),
        () => {
          total.set(
            total
              .get()
              .add(c.call(square, 64, n.get().sext(64)))
              .rotl(7),
          );
          n.set(n.get().sub(1));
        },
      );
      c.store('i64.store', c.constant(32, 8), total.get());
      const splat = c.op('i16x8.splat', 128, c.load('i32.load16_s', 32, c.constant(32, 9)));
      c.store('v128.store', c.constant(32, 16), c.op('i8x16.add_sat_u', 128, splat, splat));
      c.store('f64.store', c.constant(32, 32), c.op('f64.sqrt', 'f64', c.op('f64.convert_i64_u', 'f64', total.get())));
      c.store('i32.store16', c.constant(32, 40), c.load('i32.load8_u', 32, c.constant(32, 10)).shl(9));
      c.return(c.select(total.get().ltS(0), c.constant(32, 1), c.load('i32.load', 32, c.constant(32, 17))));
    });
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const module = new WebAssembly.Module(buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: [f] }));
    const run = new WebAssembly.Instance(module, { env: { memory } }).exports['f'] as (n: number) => number;
    const own = new ArrayBuffer(65536);
    const evaluator = new Evaluator({ memory: own });
    for (const n of [0, 1, 5, 77]) {
      expect(evaluator.call(f, [n])).toBe(run(n));
      expect(new Uint8Array(own, 0, 64)).toEqual(new Uint8Array(memory.buffer, 0, 64));
    }
  });

  it('traps where WebAssembly does', () => {
    const f = defineFunction('f', { params: [I, I], results: [I] }, (c) => c.return(c.param(0, 32).divS(c.param(1, 32))));
    const evaluator = new Evaluator({ memory: new ArrayBuffer(64) });
    expect(evaluator.call(f, [7, -2])).toBe(-3);
    expect(() => evaluator.call(f, [7, 0])).toThrow(RangeError);
    expect(() => evaluator.call(f, [-0x80000000, -1])).toThrow(RangeError);
  });
});

describe('explain', () => {
  it('names what is used twice and what an effect separates from its use', () => {
    const code = written((c) => {
      const old = c.load('i32.load', 32, c.param(0, 32), 8);
      c.store('i32.store', c.param(0, 32), old.add(1), 8);
      c.if(old.isZero(), () => c.store('i32.store', c.param(0, 32), old, 12));
    });
    const lines = explain(code, { place: (_, offset) => ({ 8: 'count', 12: 'last' })[offset] });
    expect(lines).toEqual(['t0 = count', 'count ← (t0 + 1)', 'if (t0 = 0)', '  last ← t0']);
  });
});

describe('effectsOf', () => {
  it('finds a write before the last way to leave, on any path and through calls', () => {
    const bump = defineFunction('bump', { params: [I], results: [] }, (c) => c.store('i32.store', c.param(0, 32), c.constant(32, 1), 4));
    const late = written((c) => {
      c.if(c.param(1, 64).isZero(), () => c.run(bump, c.param(0, 32)));
      c.call(load, 32, c.param(1, 64), c.constant(32, 4));
    });
    expect(effectsOf(late, rules).late).toEqual([{ write: 'state[4]', leaving: 'load' }]);
    const precise = written((c) => {
      c.call(load, 32, c.param(1, 64), c.constant(32, 4));
      c.run(bump, c.param(0, 32));
    });
    expect(effectsOf(precise, rules)).toMatchObject({ late: [], writes: [{ offset: 4, bytes: 4 }] });
  });

  it('lets a probed write follow another, but not one beyond what was probed', () => {
    const stores = (second: number): Code =>
      written((c) => {
        const at = c.param(1, 64);
        c.run(probe, at, c.constant(32, 8));
        c.run(store, at, c.constant(32, 4));
        c.run(store, at.add(second), c.constant(32, 4));
      });
    expect(effectsOf(stores(4), rules).late).toEqual([]);
    expect(effectsOf(stores(6), rules).late).toEqual([{ write: 'store', leaving: 'store' }]);
  });

  it('sees what one turn of a loop leaves to the next, unless each is a step of its own', () => {
    const loop = written((c) =>
      c.loop((again) => {
        const value = c.call(load, 32, c.param(1, 64), c.constant(32, 4));
        c.store('i32.store', c.param(0, 32), value, 16);
        again(value);
      }),
    );
    expect(effectsOf(loop, rules).late).toEqual([{ write: 'state[16]', leaving: 'load' }]);
    expect(effectsOf(loop, { ...rules, restarts: true }).late).toEqual([]);
  });

  it('does not count scratch', () => {
    const code = written((c) => {
      c.store('i32.store', c.param(0, 32), c.constant(32, 1), 100);
      c.call(load, 32, c.param(1, 64), c.constant(32, 4));
    });
    expect(effectsOf(code, rules).late).toEqual([]);
  });
});
