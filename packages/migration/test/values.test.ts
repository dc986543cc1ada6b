import { expect, test } from 'vitest';
import { decodeValue, encodeValue } from '../src/value-codec.js';

const hexOf = (value: bigint): string => Buffer.from(encodeValue(value)).toString('hex');

test('integers of any size have one form each, and come back', () => {
  const values = [0n, 1n, 255n, 256n, 0x7fff_ffff_ffff_ffffn, 0x8000_0000_0000_0000n, 2n ** 64n - 1n, 2n ** 64n, 2n ** 511n + 5n];
  for (const value of values.flatMap((one) => [one, -one])) {
    const bytes = encodeValue(value);
    expect(decodeValue(bytes, 'a number')).toBe(value);
    // Tag, sign, length, and the magnitude without zeros in front.
    const magnitude = value < 0n ? -value : value;
    const digits = magnitude.toString(16);
    expect(Buffer.from(bytes.subarray(3)).toString('hex')).toBe(digits.length % 2 === 1 ? `0${digits}` : digits);
  }
  expect([hexOf(0n), hexOf(-1n), hexOf(0x1234n), hexOf(2n ** 64n)]).toEqual(['05000100', '05010101', '0500021234', '050009010000000000000000']);
});
