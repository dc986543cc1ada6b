import { describe, expect, it } from 'vitest';
import { buildModule, defineFunction } from './index.js';

const I = 'i32' as const;
const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
const compile = (f: ReturnType<typeof defineFunction>, env: Record<string, unknown> = {}) => {
  const bytes = buildModule({ frame: { memoryPages: 1, memoryMaximum: 1 }, functions: [f] });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory, ...env } as WebAssembly.ModuleImports });
  return instance.exports[f.name] as (...args: number[]) => number;
};

describe('encodeFunction', () => {
  it('evaluates a value once, where it was made', () => {
    const f = compile(
      defineFunction('f', { params: [I], results: [I] }, (c) => {
        const address = c.param(0, 32);
        const before = c.load('i32.load', 32, address);
        c.store('i32.store', address, before.add(1));
        c.return(before.add(c.load('i32.load', 32, address)));
      }),
    );
    const view = new Int32Array(memory.buffer);
    view[4] = 20;
    expect(f(16)).toBe(41);
    expect(view[4]).toBe(21);
  });

  it('keeps narrow integers in their width', () => {
    const f = compile(defineFunction('f', { params: [I], results: [I] }, (c) => c.return(c.param(0, 32).trunc(8).add(1).shl(4).as(32))));
    expect(f(0xff)).toBe(0);
    expect(f(0x7f)).toBe(0);
    expect(f(0x17)).toBe(0x80);
  });

  it('sums in a loop with variables', () => {
    const f = compile(
      defineFunction('f', { params: [I], results: [I] }, (c) => {
        const left = c.variable(c.param(0, 32));
        const sum = c.variable(c.constant(32, 0));
        c.while(
          () => left.get().isNonzero(),
          () => {
            sum.set(sum.get().add(left.get()));
            left.set(left.get().sub(1));
          },
        );
        c.return(sum.get());
      }),
    );
    expect(f(100)).toBe(5050);
  });

  it('keeps a variable from one turn of a loop to the next', () => {
    const f = compile(
      defineFunction('f', { params: [I], results: [I] }, (c) => {
        const turn = c.declare(32);
        const kept = c.declare(32);
        c.loop((again) => {
          const next = turn.get().add(1);
          // A temporary with two uses has a local until here, which is free when `kept` is first written.
          const cube = next.mul(next).mul(3);
          c.store('i32.store', cube.and(0xff8), cube);
          turn.set(next);
          c.if(turn.get().eq(2), () => c.return(kept.get()));
          kept.set(c.param(0, 32));
          again();
        });
        c.return(c.constant(32, -1));
      }),
    );
    expect(f(1234)).toBe(1234);
  });

  it('reuses locals safely across loops', () => {
    const f = compile(
      defineFunction('f', { params: [I], results: [I] }, (c) => {
        const outside = c.param(0, 32).mul(3);
        const sum = c.variable(c.constant(32, 0));
        const i = c.variable(c.constant(32, 0));
        c.loop((again) => {
          const twice = i.get().mul(2);
          sum.set(sum.get().add(outside).add(twice).add(twice));
          i.set(i.get().add(1));
          again(i.get().ltU(3));
        });
        c.return(sum.get().add(outside));
      }),
    );
    expect(f(5)).toBe(15 * 4 + 4 * (0 + 1 + 2));
  });

  it('chooses between computations', () => {
    const f = compile(
      defineFunction('f', { params: [I], results: [I] }, (c) => {
        const x = c.param(0, 32);
        c.return(
          c.choose(
            x.gtS(10),
            32,
            () => x.sub(10),
            () => x.neg(),
          ),
        );
      }),
    );
    expect([f(15), f(4)]).toEqual([5, -4]);
  });

  it('imports what it does not define, and includes what it can', () => {
    const inner = defineFunction('inner', { params: [I], results: [I] }, (c) => c.return(c.param(0, 32).mul(7)));
    const f = compile(
      defineFunction('f', { params: [I], results: [I] }, (c) => {
        const a = c.call(inner, 32, c.param(0, 32));
        c.return(a.add(c.call({ name: 'host', signature: { params: [I], results: [I] } }, 32, a)));
      }),
      { host: (n: number) => n + 1 },
    );
    expect(f(3)).toBe(43);
  });
});
