import { describe, expect, it } from 'vitest';
import { ByteWriter } from './byte-writer.js';
import { ModuleBuilder } from './module-builder.js';

const END = 0x0b;

describe('numbers', () => {
  const written = (write: (w: ByteWriter) => void): number[] => {
    const w = new ByteWriter();
    write(w);
    return [...w.take()];
  };

  it('are the LEB128 of the specification', () => {
    expect(written((w) => w.unsigned(624485))).toEqual([0xe5, 0x8e, 0x26]);
    expect(written((w) => w.unsigned(0xffffffff))).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f]);
    expect(written((w) => w.signed(-123456))).toEqual([0xc0, 0xbb, 0x78]);
    expect(written((w) => w.signed(64))).toEqual([0xc0, 0]);
    expect(written((w) => w.signed64(-(2n ** 63n)))).toEqual([...new Array<number>(9).fill(0x80), 0x7f]);
  });

  it('come back from a module that returns them', () => {
    for (let bit = 0; bit < 64; bit++) {
      for (const value of [1n << BigInt(bit), (1n << BigInt(bit)) - 1n, -(1n << BigInt(bit)), -(1n << BigInt(bit)) - 1n].map((v) =>
        BigInt.asIntN(64, v),
      )) {
        const code = new ByteWriter();
        code.byte(0x42);
        code.signed64(value);
        code.byte(END);
        const module = new ModuleBuilder();
        module.exportFunction('f', module.addFunction({ params: [], results: ['i64'] }, { locals: [], code: code.take() }));
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes()));
        expect((exports['f'] as () => bigint)()).toBe(value);
      }
    }
  });

  it('a buffer grows, gives copies, and can be used again', () => {
    const w = new ByteWriter();
    w.bytes(new Uint8Array(1000).fill(7));
    const copy = w.take();
    w.clear();
    w.name('é');
    expect([copy.length, copy[999], [...w.view()]]).toEqual([1000, 7, [2, 0xc3, 0xa9]]);
  });
});

describe('modules', () => {
  it('import memory, table and functions, keep one index space, and fill the table', () => {
    const module = new ModuleBuilder();
    module.importMemory('env', 'memory', 1, 2, true);
    module.importTable('env', 'table', 4);
    const host = module.importFunction('env', 'host', { params: ['i32'], results: ['i32'] });
    // i32.load (i32.const 8); call host
    const code = [0x41, 8, 0x28, 0, 0, 0x10, host, END];
    const first = module.addFunction({ params: [], results: ['i32'] }, { locals: ['i32', 'i32', 'f64', 'v128'], code: Uint8Array.from(code) });
    const second = module.addFunction({ params: ['i32'], results: ['i32'] }, { locals: [], code: Uint8Array.from([0x20, 0, 0x10, host, END]) });
    module.exportFunction('first', first);
    module.addElements(2, [second, first]);
    expect([host, first, second]).toEqual([0, 1, 2]);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 2, shared: true });
    const table = new WebAssembly.Table({ initial: 4, element: 'anyfunc' });
    const env = { memory, table, host: (value: number) => value * 2 };
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes()), { env });
    new Int32Array(memory.buffer)[2] = 21;
    expect((exports['first'] as () => number)()).toBe(42);
    expect([table.get(0), table.get(2)(5), table.get(3)()]).toEqual([null, 10, 42]);
  });

  it('have each signature once', () => {
    const module = new ModuleBuilder();
    const signature = { params: ['i32', 'i64'], results: [] } as const;
    expect([module.type(signature), module.type({ params: ['i32'], results: ['i64'] }), module.type({ ...signature })]).toEqual([0, 1, 0]);
  });
});
