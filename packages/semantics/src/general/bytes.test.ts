import { buildModule, type FunctionDefinition } from '@nestvm/emit';
import { describe, expect, it } from 'vitest';
import { COPY_BYTES, FILL_BYTES, REPEAT_BYTES, searchFunction } from './bytes.js';

const PAGES = 1;
const [FROM, TO] = [0x1000, 0x8000];
/** Around the sizes at which something else is done, and each below. */
const LENGTHS = [...Array(70).keys(), 79, 80, 81, 95, 127, 128, 129, 143, 255, 256, 257, 300, 1000, 4000, 4096];

function load(...functions: FunctionDefinition[]) {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
  const bytes = buildModule({ frame: { memoryPages: PAGES, memoryMaximum: PAGES, shared: false }, functions });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  const u8 = new Uint8Array(memory.buffer);
  for (let i = 0; i < u8.length; i++) u8[i] = Math.imul(i, 0x9e3779b1) >>> 24;
  return {
    u8,
    call: (target: FunctionDefinition, ...args: (number | bigint)[]) => (exports[target.name] as (...args: unknown[]) => number)(...args),
  };
}

/** Bytes one by one, upwards. */
const copied = (u8: Uint8Array, target: number, source: number, length: number): Uint8Array => {
  const copy = u8.slice();
  for (let i = 0; i < length; i++) copy[target + i] = copy[source + i]!;
  return copy;
};

describe('bytes are moved as one by one', () => {
  it.each([
    ['to elsewhere', TO + 3],
    ['to a page where each load comes behind a store to the same place of the page', TO + 13],
    ['to a little below', FROM - 5],
    ['to where they are', FROM],
  ])('%s', (_, target) => {
    const { u8, call } = load(COPY_BYTES);
    for (const length of LENGTHS) {
      const expected = copied(u8, target, FROM, length);
      call(COPY_BYTES, target, FROM, length);
      expect(Buffer.from(u8).equals(expected)).toBe(true);
    }
  });

  it.each([1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 100, 1000])('to %i above', (distance) => {
    const { u8, call } = load(REPEAT_BYTES);
    for (const length of LENGTHS.filter((length) => length > distance)) {
      const expected = copied(u8, FROM + distance, FROM, length);
      call(REPEAT_BYTES, FROM + distance, FROM, length);
      expect(Buffer.from(u8).equals(expected)).toBe(true);
    }
  });
});

it.each([
  ['bytes', 1, 0x7777777777777777n],
  ['words', 2, 0x1234123412341234n],
  ['double words', 4, 0x1234567812345678n],
  ['quad words', 8, 0x0123456789abcdefn],
] as const)('memory is filled with %s', (_, width, pattern) => {
  const { u8, call } = load(FILL_BYTES);
  for (const length of LENGTHS.filter((length) => length % width === 0)) {
    const expected = u8.slice();
    for (let i = 0; i < length; i++) expected[TO + 3 + i] = Number((pattern >> BigInt(8 * (i % 8))) & 255n);
    call(FILL_BYTES, TO + 3, pattern, length);
    expect(Buffer.from(u8).equals(expected)).toBe(true);
  }
});

/** Where no element is aligned, and where all are but vectors are not. */
const PLACES = [TO + 5, TO + 8];

describe.each(([8, 16, 32, 64] as const).flatMap((width) => PLACES.map((place) => [width, place] as const)))(
  'elements of %i bits at %i',
  (width, place) => {
    const bytes = width / 8;
    const lengths = LENGTHS.filter((length) => length > 0 && length % bytes === 0);

    it.each([true, false])('are found beside others, equal ones: %s', (isForEqual) => {
      const search = searchFunction({ isForEqual, width, hasOther: true });
      const { u8, call } = load(search);
      for (const length of lengths) {
        for (let i = 0; i < length; i++) u8[place + i] = u8[FROM + i]! ^ (isForEqual ? 0xff : 0);
        expect(call(search, place, length, FROM)).toBe(length);
        for (const at of [0, (length / bytes) >> 1, length / bytes - 1].map((element) => element * bytes)) {
          const [target, kept] = [place + at, u8.slice(place + at, place + at + bytes)];
          if (isForEqual) u8.copyWithin(target, FROM + at, FROM + at + bytes);
          else u8[target + bytes - 1]! ^= 1;
          expect(call(search, place, length, FROM) & -bytes).toBe(at);
          u8.set(kept, target);
        }
      }
    });

    it.each([true, false])('are found that are the accumulator, or are not: %s', (isForEqual) => {
      const search = searchFunction({ isForEqual, width, hasOther: false });
      const { u8, call } = load(search);
      const wanted = Uint8Array.from({ length: bytes }, (_, i) => 0x41 + i);
      const other = Uint8Array.from(wanted, (byte, i) => (i === bytes - 1 ? byte ^ 0x80 : byte));
      const [filler, found] = isForEqual ? [other, wanted] : [wanted, other];
      const value = wanted.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
      for (const length of lengths) {
        for (let i = 0; i < length; i += bytes) u8.set(filler, place + i);
        const argument = width === 64 ? BigInt.asIntN(64, value) : Number(value);
        expect(call(search, place, length, argument)).toBe(length);
        for (const at of [0, (length / bytes) >> 1, length / bytes - 1].map((element) => element * bytes)) {
          u8.set(found, place + at);
          expect(call(search, place, length, argument) & -bytes).toBe(at);
          u8.set(filler, place + at);
        }
      }
    });
  },
);
