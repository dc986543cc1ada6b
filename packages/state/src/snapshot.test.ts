import { describe, expect, expectTypeOf, it } from 'vitest';
import { StateError } from './errors.js';
import { nonMigratable, stateless, structState } from './migratable.js';
import { loadStruct, saveStruct } from './snapshot.js';
import { array, bytes, derived, struct, u8, u16, u32, u64 } from './struct.js';
import { viewStruct } from './view.js';

const unit = struct('unit', 3, {
  a: u8,
  b: u16,
  c: u32,
  cache: derived(u64),
  d: u64,
  raw: bytes(20),
  list: array(u16, 3),
  wide: array(u64, 2),
  spare: derived(array(u8, 5)),
});

const code = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof StateError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'nothing thrown';
};

describe('layout', () => {
  it('aligns naturally, bytes to 16, and the whole to 16', () => {
    expect(unit.offset).toEqual({ a: 0, b: 2, c: 4, cache: 8, d: 16, raw: 32, list: 52, wide: 64, spare: 80 });
    expect(unit.size).toBe(96);
  });
});

describe('viewStruct', () => {
  it('reads and writes memory at the offsets, little-endian, cut to the width', () => {
    const buffer = new ArrayBuffer(256);
    const view = viewStruct(unit, buffer, 128);
    expectTypeOf(view.d).toEqualTypeOf<bigint>();
    expectTypeOf(view.a).toEqualTypeOf<number>();
    expectTypeOf(view.list.get(0)).toEqualTypeOf<number>();
    expectTypeOf(view.raw).toEqualTypeOf<Uint8Array>();
    view.a = 0x1ff;
    view.b = 0x1234;
    view.c = -1;
    view.d = -2n;
    view.list.set(2, 0xabcd);
    view.wide.set(1, 5n);
    view.raw[19] = 9;
    const data = new DataView(buffer, 128);
    expect([data.getUint8(0), data.getUint16(2, true), data.getUint32(4, true), data.getBigUint64(16, true)]).toEqual([
      0xff,
      0x1234,
      0xffffffff,
      2n ** 64n - 2n,
    ]);
    expect([data.getUint16(56, true), data.getBigUint64(72, true), data.getUint8(51)]).toEqual([0xabcd, 5n, 9]);
    expect([view.a, view.c, view.d, view.list.get(2), view.list.length]).toEqual([0xff, 0xffffffff, 2n ** 64n - 2n, 0xabcd, 3]);
    expect(() => view.list.get(3)).toThrow(RangeError);
  });

  it.each([[-16], [8], [176], [Number.NaN]])('refuses base %s', (base) => {
    expect(code(() => viewStruct(unit, new ArrayBuffer(256), base))).toMatch(/^bad-base: struct 'unit'/);
  });
});

describe('snapshots', () => {
  const filled = (): ArrayBuffer => {
    const buffer = new ArrayBuffer(unit.size);
    new Uint8Array(buffer).forEach((_, i, all) => (all[i] = i * 7 + 1));
    return buffer;
  };

  it('keeps what is not derived, and only that', () => {
    const from = filled();
    const saved = saveStruct(unit, from, 0);
    expect(Object.keys(saved)).toEqual(['a', 'b', 'c', 'd', 'raw', 'list', 'wide']);
    const to = new ArrayBuffer(unit.size);
    viewStruct(unit, to, 0).cache = 42n;
    loadStruct(unit, to, 0, saved);
    expect(saveStruct(unit, to, 0)).toEqual(saved);
    expect([viewStruct(unit, to, 0).cache, viewStruct(unit, to, 0).spare.get(0)]).toEqual([42n, 0]);
  });

  it('is a copy', () => {
    const from = filled();
    const saved = saveStruct(unit, from, 0);
    const raw = (saved['raw'] as Uint8Array)[0];
    new Uint8Array(from).fill(0);
    expect((saved['raw'] as Uint8Array)[0]).toBe(raw);
  });

  it.each<[string, (saved: Record<string, unknown>) => unknown, RegExp]>([
    ['no object', () => null, /unit must be an object, not null/],
    ['a list', () => [], /unit must be an object/],
    ['a missing field', (s) => (delete s['b'], s), /unit\.b must be an integer from 0 to 65535, not undefined/],
    ['an unknown field', (s) => ({ ...s, z: 1 }), /unit\.z must be absent/],
    ['an inherited name', (s) => ({ ...s, toString: 1 }), /unit\.toString must be absent/],
    ['a derived field', (s) => ({ ...s, cache: 1n }), /unit\.cache must be absent/],
    ['a value out of range', (s) => ({ ...s, a: 256 }), /unit\.a must be an integer from 0 to 255, not 256/],
    ['a negative value', (s) => ({ ...s, c: -1 }), /unit\.c/],
    ['a fraction', (s) => ({ ...s, c: 0.5 }), /unit\.c/],
    ['a number for a bigint', (s) => ({ ...s, d: 1 }), /unit\.d must be an unsigned 64-bit bigint/],
    ['a bigint of 65 bits', (s) => ({ ...s, d: 2n ** 64n }), /unit\.d/],
    ['a list of another length', (s) => ({ ...s, list: [1, 2] }), /unit\.list must be a list of 3/],
    ['a bad element', (s) => ({ ...s, list: [1, 2, 'x'] }), /unit\.list\[2\] must be an integer from 0 to 65535, not a string/],
    ['a hole in a list', (s) => ({ ...s, list: new Array<number>(3) }), /unit\.list\[0\]/],
    ['bytes of another length', (s) => ({ ...s, raw: new Uint8Array(19) }), /unit\.raw must be 20 bytes/],
  ])('refuses %s and changes nothing', (_what, damage, message) => {
    const to = filled();
    const before = new Uint8Array(to.slice(0));
    const bad = damage({ ...saveStruct(unit, new ArrayBuffer(unit.size), 0) });
    expect(code(() => loadStruct(unit, to, 0, bad))).toMatch(message);
    expect(new Uint8Array(to)).toEqual(before);
  });
});

describe('migratable units', () => {
  it('a struct loads, then re-derives; a bad load re-derives nothing', () => {
    const buffer = new ArrayBuffer(unit.size);
    let derivedTimes = 0;
    const state = structState(unit, buffer, 0, () => derivedTimes++);
    viewStruct(unit, buffer, 0).d = 77n;
    const saved = state.save();
    viewStruct(unit, buffer, 0).d = 0n;
    expect(code(() => state.load({}))).toMatch(/^bad-state/);
    expect(derivedTimes).toBe(0);
    state.load(saved);
    expect([viewStruct(unit, buffer, 0).d, derivedTimes, state.version, state.kind]).toEqual([77n, 1, 3, 'stateful']);
  });

  it('says what it is', () => {
    expect([stateless.kind, nonMigratable('host GPU').why]).toEqual(['stateless', 'host GPU']);
  });
});
