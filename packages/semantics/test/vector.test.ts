import { type OpcodeRow, opcodeRows } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import type { Emitter } from '../src/emitter.js';
import { vectorMeanings } from '../src/vector/index.js';
import { BASE, DATA, type Form, formsOf, NO_FAULT, REG, RM, VectorMachine, VVVV } from './vector-harness.js';

/** Not meant: GFNI, AVX-VNNI. */
const WITHOUT_MEANING = /^(V?GF2P8|VPDP)/;
const vectorRows = opcodeRows.filter(
  (r) => r.encoding !== 'evex' && r.operands.some((o) => /^(V|W|U|H|P|Q|N|MV|L)$/.test(o.method)) && !WITHOUT_MEANING.test(r.mnemonic),
);

const meaning = (row: OpcodeRow): Emitter => {
  const emitter = vectorMeanings[row.mnemonic];
  if (emitter === undefined) throw new Error(`${row.mnemonic} has no meaning`);
  return emitter;
};

/** A machine with all forms of a mnemonic's rows, and those forms. */
function machineOf(mnemonic: string): { vm: VectorMachine; forms: Form[] } {
  const forms = opcodeRows.filter((r) => r.mnemonic === mnemonic && r.encoding !== 'evex').flatMap((r) => formsOf(r));
  return { vm: new VectorMachine(forms.map((f) => [f, meaning(f.row)])), forms };
}

/** A repeatable stream of 32-bit numbers. */
function stream(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) ^ (state >>> 3)) >>> 0;
  };
}

const fill = (target: Uint8Array, next: () => number): void => {
  for (let i = 0; i < target.length; i++) target[i] = next() >>> 24;
};
const doubles = (vm: VectorMachine, n: number): Float64Array => new Float64Array(vm.memory.buffer, vm.vector(n).byteOffset, 8);

describe('vector meanings', () => {
  it('cover every vector row that is not EVEX, and compile in every form', () => {
    expect(vectorRows.filter((r) => !(r.mnemonic in vectorMeanings)).map((r) => r.mnemonic)).toEqual([]);
    const forms = vectorRows.flatMap((r) => formsOf(r));
    for (let i = 0; i < forms.length; i += 100) new VectorMachine(forms.slice(i, i + 100).map((f) => [f, meaning(f.row)]));
    expect(forms.length).toBeGreaterThan(1500);
  });

  it.each([
    ['PADDB', 1, (a: number, b: number) => a + b],
    ['PSUBW', 2, (a: number, b: number) => a - b],
    ['PXOR', 4, (a: number, b: number) => a ^ b],
    ['PMULLW', 2, (a: number, b: number) => Math.imul(a, b)],
    ['PAVGB', 1, (a: number, b: number) => (a + b + 1) >> 1],
    ['PMINUB', 1, Math.min],
    ['PMULHUW', 2, (a: number, b: number) => Math.floor((a * b) / 65536)],
    ['PCMPEQB', 1, (a: number, b: number) => (a === b ? -1 : 0)],
    ['PADDUSW', 2, (a: number, b: number) => Math.min(a + b, 0xffff)],
    ['PANDN', 4, (a: number, b: number) => ~a & b],
  ] as const)('%s works on each element, keeps or clears the rest', (name, size, reference) => {
    for (const mnemonic of [name, `V${name}`]) {
      const { vm, forms } = machineOf(mnemonic);
      const next = stream(7);
      for (const form of forms) {
        if (form.row.operands.some((o) => o.method === 'P')) continue;
        for (const n of [REG, VVVV, RM]) fill(vm.vector(n), next);
        fill(vm.data(), next);
        const length = form.vectorLength === 256 ? 32 : 16;
        const a = vm.vector(mnemonic === name ? REG : VVVV).slice();
        const b = (form.memory ? vm.data() : vm.vector(RM)).slice();
        const before = vm.vector(REG).slice();
        expect(vm.run(form.name)).toBe(NO_FAULT);
        const read = (v: Uint8Array, at: number): number => [...v.subarray(at, at + size)].reduce((sum, byte, i) => sum + byte * 256 ** i, 0);
        for (let at = 0; at < length; at += size)
          expect(read(vm.vector(REG), at)).toBe(Number(BigInt.asUintN(8 * size, BigInt(reference(read(a, at), read(b, at))))));
        const rest = mnemonic === name ? before.subarray(16) : new Uint8Array(64 - length);
        expect([...vm.vector(REG).subarray(length)]).toEqual([...rest]);
      }
    }
  });

  it('MMX results make the x87 registers valid with all-ones exponents', () => {
    const { vm, forms } = machineOf('PADDB');
    const form = forms.find((f) => f.row.operands[0]!.method === 'P' && !f.memory)!;
    vm.mmx(REG).fill(3);
    vm.mmx(RM).fill(4);
    vm.set32('ftop', 5);
    vm.run(form.name);
    expect([...vm.mmx(REG)]).toEqual([7, 7, 7, 7, 7, 7, 7, 7, 255, 255]);
    expect([vm.get32('ftop'), vm.get32('ftag')]).toEqual([0, 0xff]);
  });

  it('legacy memory operands must be aligned, MOVUPS and VEX ones need not be', () => {
    for (const [mnemonic, fault] of [
      ['PADDB', 13],
      ['MOVAPS', 13],
      ['MOVUPS', NO_FAULT],
      ['VPADDB', NO_FAULT],
      ['VMOVAPS', 13],
    ] as const) {
      const { vm, forms } = machineOf(mnemonic);
      vm.setGpr(BASE, BigInt(DATA + 8));
      const vectors = forms.filter((form) => form.memory && !form.row.operands.some((o) => o.method === 'P'));
      expect(vectors.map((form) => [form.name, vm.run(form.name)])).toEqual(vectors.map((form) => [form.name, fault]));
    }
  });

  it('a 256-bit store whose second half faults writes nothing', () => {
    const { vm, forms } = machineOf('VMOVUPS');
    const store = forms.find((f) => f.memory && f.vectorLength === 256 && f.row.operands[0]!.method === 'W')!;
    vm.setGpr(BASE, 0x9000n - 16n);
    vm.vector(REG).fill(0xab);
    expect(vm.run(store.name)).toBe(14);
    expect(vm.bytes[0x9000 - 16]).toBe(0);
  });

  it('a gather keeps what it has when a later element faults', () => {
    const { vm, forms } = machineOf('VPGATHERDD');
    const form = forms.find((f) => f.vectorLength === 128)!;
    vm.vector(VVVV).fill(0xff);
    vm.data().set([1, 2, 3, 4, 5, 6, 7, 8]);
    const index = new Int32Array(vm.memory.buffer, vm.vector(RM).byteOffset, 4);
    index.set([1, 0, 0x10000, 0]);
    expect(vm.run(form.name)).toBe(14);
    expect([...vm.vector(REG).subarray(0, 8)]).toEqual([5, 6, 7, 8, 1, 2, 3, 4]);
    expect([...vm.vector(VVVV).subarray(0, 16)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
  });

  it('AESENC is the round of FIPS 197, "Cipher Example"', () => {
    const { vm, forms } = machineOf('AESENC');
    const hex = (text: string): number[] => text.match(/../g)!.map((b) => parseInt(b, 16));
    vm.vector(REG).set(hex('193de3bea0f4e22b9ac68d2ae9f84808'));
    vm.vector(RM).set(hex('a0fafe1788542cb123a339392a6c7605'));
    vm.run(forms.find((f) => !f.memory)!.name);
    expect([...vm.vector(REG).subarray(0, 16)]).toEqual(hex('a49c7ff2689f352b6b5bea43026a5049'));
  });

  it('PCMPISTRI finds a character', () => {
    const { vm, forms } = machineOf('PCMPISTRI');
    vm.vector(REG).fill(0, 0, 16);
    vm.vector(REG).set(new TextEncoder().encode('lo'));
    vm.vector(RM).fill(0, 0, 16);
    vm.vector(RM).set(new TextEncoder().encode('hexlet'));
    vm.run(forms.find((f) => !f.memory)!.name, 0);
    expect(vm.gpr(1)).toBe(3n);
    expect(vm.flags() & 0xc1).toBe(0xc1);
  });
});

describe('floating point', () => {
  const VALUES = [
    0,
    -0,
    1,
    -1.5,
    0.1,
    Math.PI,
    1e308,
    -1e308,
    5e-324,
    2.2250738585072014e-308,
    1e-300,
    3e-310,
    Infinity,
    -Infinity,
    2 ** 52 + 1,
    1 / 3,
  ];

  it.each([
    ['ADDSD', (a: number, b: number) => a + b],
    ['SUBSD', (a: number, b: number) => a - b],
    ['MULSD', (a: number, b: number) => a * b],
    ['DIVSD', (a: number, b: number) => a / b],
  ] as const)('%s gives the same through the exact path as the host, for every pair', (mnemonic, reference) => {
    const { vm, forms } = machineOf(mnemonic);
    const { name } = forms.find((f) => !f.memory)!;
    for (const mxcsr of [0x1f80, 0x1fa0]) {
      for (const a of VALUES)
        for (const b of VALUES) {
          vm.set32('mxcsr', mxcsr);
          doubles(vm, REG)[0] = a;
          doubles(vm, RM)[0] = b;
          expect(vm.run(name)).toBe(NO_FAULT);
          expect(doubles(vm, REG)[0], `${a} ${b}`).toBe(reference(a, b));
        }
    }
  });

  it.each([
    ['inexact', 0.1, 0.2, 0x20],
    ['exact', 1, 2, 0],
    ['overflow', 1.7e308, 1.7e308, 0x28],
    ['denormal operand', 5e-324, 1, 0x22],
    ['invalid', Infinity, -Infinity, 1],
  ] as const)('ADDSD reports %s', (_what, a, b, flags) => {
    const { vm, forms } = machineOf('ADDSD');
    vm.set32('mxcsr', 0x1f80);
    doubles(vm, REG)[0] = a;
    doubles(vm, RM)[0] = b;
    vm.run(forms.find((f) => !f.memory)!.name);
    expect(vm.get32('mxcsr')).toBe(0x1f80 | flags);
  });

  it('an unmasked exception is #XM and leaves the destination', () => {
    const { vm, forms } = machineOf('DIVSD');
    vm.set32('mxcsr', 0x1f80 & ~0x200);
    doubles(vm, REG)[0] = 3;
    doubles(vm, RM)[0] = 0;
    expect(vm.run(forms.find((f) => !f.memory)!.name)).toBe(19);
    expect([doubles(vm, REG)[0], vm.get32('mxcsr')]).toEqual([3, (0x1f80 & ~0x200) | 4]);
  });

  it('rounds as MXCSR says', () => {
    const { vm, forms } = machineOf('DIVSD');
    const { name } = forms.find((f) => !f.memory)!;
    const quotients = (a: number, b: number): number[] =>
      [0, 1, 2, 3].map((mode) => {
        vm.set32('mxcsr', 0x1fa0 | (mode << 13));
        doubles(vm, REG)[0] = a;
        doubles(vm, RM)[0] = b;
        vm.run(name);
        return doubles(vm, REG)[0]!;
      });
    // 2/3 as the host rounds it lies below the true quotient.
    const [below, above] = [2 / 3, 2 / 3 + 2 ** -53];
    expect(quotients(2, 3)).toEqual([below, below, above, below]);
    expect(quotients(-2, 3)).toEqual([-below, -above, -below, -below]);
  });

  it('RCPPS and RSQRTPS stay within the documented error', () => {
    for (const [mnemonic, reference] of [
      ['RCPSS', (v: number) => 1 / v],
      ['RSQRTSS', (v: number) => 1 / Math.sqrt(v)],
    ] as const) {
      const { vm, forms } = machineOf(mnemonic);
      const { name } = forms.find((f) => !f.memory)!;
      const [source, target] = [RM, REG].map((n) => new Float32Array(vm.memory.buffer, vm.vector(n).byteOffset, 4)) as [Float32Array, Float32Array];
      for (let v = 0.01; v < 1000; v *= 1.0137) {
        source[0] = v;
        vm.run(name);
        const right = reference(source[0]);
        expect(Math.abs(target[0]! - right) / right).toBeLessThanOrEqual(1.5 * 2 ** -12);
      }
    }
  });

  it('fused multiply-add rounds once', () => {
    const { vm, forms } = machineOf('VFMADD213SD');
    doubles(vm, REG)[0] = 1 + 2 ** -30;
    doubles(vm, VVVV)[0] = 1 + 2 ** -30;
    doubles(vm, RM)[0] = -(1 + 2 ** -29);
    vm.run(forms.find((f) => !f.memory)!.name);
    expect(doubles(vm, REG)[0]).toBe(2 ** -60);
  });
});
