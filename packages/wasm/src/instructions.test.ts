import { expect, it } from 'vitest';
import { ByteWriter } from './byte-writer.js';
import { MEMORY, NUMERIC, type ValueType } from './instructions.js';
import { ModuleBuilder } from './module-builder.js';

const opcode = (code: ByteWriter, prefix: number, number: number): void => {
  if (prefix === 0) return code.byte(number);
  code.byte(prefix);
  code.unsigned(number);
};

/** A function of these parameters, whose code is what `write` puts behind its local.gets. */
function moduleOf(params: readonly ValueType[], results: readonly ValueType[], write: (code: ByteWriter) => void): Uint8Array<ArrayBuffer> {
  const code = new ByteWriter();
  params.forEach((_, i) => code.bytes([0x20, i]));
  write(code);
  code.byte(0x0b);
  const module = new ModuleBuilder();
  module.importMemory('env', 'memory', 1, 1);
  module.exportFunction('f', module.addFunction({ params, results }, { locals: [], code: code.take() }));
  return module.toBytes();
}

interface Sample {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | null;
  readonly write: (code: ByteWriter) => void;
}

/** The samples that the host does not take with their declared types; with any other result type it must not take them. */
function refused(samples: readonly Sample[]): string[] {
  const takes = ({ params, write }: Sample, results: readonly ValueType[]): boolean => WebAssembly.validate(moduleOf(params, results, write));
  return samples
    .filter((sample) => !takes(sample, sample.result ? [sample.result] : []) || takes(sample, [sample.result === 'i64' ? 'f64' : 'i64']))
    .map(({ name }) => name);
}

it('every computing instruction has the opcode and the types that the host knows', () => {
  const samples = Object.values(NUMERIC).map(
    ({ name, prefix, opcode: number, params, result, lane }): Sample => ({
      name,
      params,
      result,
      write: (code) => {
        opcode(code, prefix, number);
        if (lane) code.byte(0);
      },
    }),
  );
  expect(samples.length).toBeGreaterThan(300);
  expect(refused(samples)).toEqual([]);
});

it('every load and store has the width that the host knows', () => {
  const samples = Object.values(MEMORY).map(({ name, prefix, opcode: number, type, bytes }): { sample: Sample; tooWide: Sample } => {
    const isStore = name.includes('store');
    const sample = (align: number): Sample => ({
      name,
      params: isStore ? ['i32', type] : ['i32'],
      result: isStore ? null : type,
      write: (code) => {
        opcode(code, prefix, number);
        code.unsigned(align);
        code.unsigned(8);
      },
    });
    return { sample: sample(Math.log2(bytes)), tooWide: sample(Math.log2(bytes) + 1) };
  });
  expect(samples.length).toBeGreaterThan(30);
  expect(refused(samples.map(({ sample }) => sample))).toEqual([]);
  // An alignment above the width is invalid: so the host tells the width.
  expect(refused(samples.map(({ tooWide }) => tooWide))).toEqual(samples.map(({ sample }) => sample.name));
});

it('names say what an instruction computes', () => {
  const run = (name: string, ...values: number[]): number => {
    const { params, result, prefix, opcode: number } = NUMERIC[name]!;
    const bytes = moduleOf(params, [result], (code) => opcode(code, prefix, number));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
    return (exports['f'] as (...values: number[]) => number)(...values);
  };
  expect(run('i32.sub', 40, 2)).toBe(38);
  expect(run('i32.shr_u', -1, 28)).toBe(15);
  expect(run('i32.rotl', 0x80000001 | 0, 1)).toBe(3);
  expect(run('f64.copysign', 2, -0)).toBe(-2);
  expect(run('i32.lt_u', 1, -1)).toBe(1);
});
