import { type Code, defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { pick, range } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import { inputs, output } from '../vector/operand.js';
import { packed, packedUnary } from '../vector/packed.js';

type V = Val<128>;

/** The inverses in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, 0 for 0. All other elements are powers of 3, of which there are 255. */
function inverses(): Uint8Array {
  const powers = new Uint8Array(255);
  for (let i = 0, power = 1; i < 255; i++, power ^= (power << 1) ^ (power & 0x80 ? 0x11b : 0)) powers[i] = power;
  const result = new Uint8Array(256);
  for (const [i, power] of powers.entries()) result[power] = powers[(255 - i) % 255]!;
  return result;
}

/** The substitution box and its inverse (FIPS 197, "SubBytes"). */
function substitutionBoxes(): { readonly forward: Uint8Array; readonly inverse: Uint8Array } {
  const forward = new Uint8Array(256);
  const inverse = new Uint8Array(256);
  for (const [a, b] of inverses().entries()) {
    const rotated = range(5).reduce((sum, i) => sum ^ ((b << i) | (b >> (8 - i))), 0);
    forward[a] = (rotated ^ 0x63) & 0xff;
    inverse[forward[a]!] = a;
  }
  return { forward, inverse };
}

const boxes = substitutionBoxes();

/** Every byte through a table of 256: sixteen swizzles, each answers for the bytes whose high digit is its number. */
const substitution = (name: string, box: Uint8Array): FunctionDefinition =>
  defineFunction(name, { params: ['v128'], results: ['v128'] }, (code) => {
    const value = code.param(0, 128);
    let result: V | undefined;
    for (const i of range(16)) {
      const index = code.op('i8x16.sub', 128, value, code.constant128(new Uint8Array(16).fill(16 * i)));
      const part = code.op('i8x16.swizzle', 128, code.constant128(box.slice(16 * i, 16 * i + 16)), index);
      result = result === undefined ? part : code.op('v128.or', 128, result, part);
    }
    code.return(result as V);
  });

const subBytes = substitution('aes.sub', boxes.forward);
const subBytesInverse = substitution('aes.subInverse', boxes.inverse);

const xor = (code: Code, ...values: V[]): V => values.reduce((a, b) => code.op('v128.xor', 128, a, b));
/** Byte i of each column taken from `i + by`. */
const rotateColumns = (code: Code, value: V, by: number): V =>
  code.shuffle(
    range(16).map((i) => (i & 12) | ((i + by) & 3)),
    value,
    value,
  );

/** Each byte times x in GF(2^8). */
function double(code: Code, value: V): V {
  const carries = code.op('i8x16.shr_s', 128, value, code.constant(32, 7));
  return xor(
    code,
    code.op('i8x16.shl', 128, value, code.constant(32, 1)),
    code.op('v128.and', 128, carries, code.constant128(new Uint8Array(16).fill(0x1b))),
  );
}

/** MixColumns: 2a + 3b + c + d down each column. */
function mix(code: Code, value: V): V {
  const next = rotateColumns(code, value, 1);
  return xor(code, double(code, xor(code, value, next)), next, rotateColumns(code, value, 2), rotateColumns(code, value, 3));
}

/** InvMixColumns is MixColumns after adding 4(a + c) to a and c, 4(b + d) to b and d. */
function mixInverse(code: Code, value: V): V {
  const sums = xor(code, value, rotateColumns(code, value, 2));
  return mix(code, xor(code, value, double(code, double(code, sums))));
}

/** ShiftRows: row r moves r columns. */
const shiftRows = (code: Code, value: V, direction: 1 | -1): V =>
  code.shuffle(
    range(16).map((i) => (i + 4 * direction * (i & 3)) & 15),
    value,
    value,
  );

const encrypt = (last: boolean): Emitter =>
  packed((x, state, key) => {
    const { code } = x;
    const substituted = code.call(subBytes, 128, shiftRows(code, state, 1));
    return xor(code, last ? substituted : mix(code, substituted), key);
  });

const decrypt = (last: boolean): Emitter =>
  packed((x, state, key) => {
    const { code } = x;
    const substituted = code.call(subBytesInverse, 128, shiftRows(code, state, -1));
    return xor(code, last ? substituted : mixInverse(code, substituted), key);
  });

/** Dwords 1 and 3 substituted, each followed by itself rotated and the round constant added. */
const keygenAssist: Emitter = (x: Context) => {
  const { code } = x;
  const substituted = code.call(subBytes, 128, inputs(x)[0]!.read()[0] as V);
  const spread = pick(x, 4, [1, 1, 3, 3], substituted);
  const rotated = code.shuffle(
    range(16).map((i) => ((i & 4) === 0 ? i : (i & 12) | ((i + 1) & 3))),
    spread,
    spread,
  );
  const constant = x.fields.immediate32().and(0xff);
  const constants = code.op(
    'v128.and',
    128,
    code.op('i32x4.splat', 128, constant),
    code.constant128(Uint8Array.from(range(16).map((i) => (i === 4 || i === 12 ? 0xff : 0)))),
  );
  output(x).write([xor(code, rotated, constants)]);
};

/** AES rounds, 128 or 256 bits at a time (SDM Vol. 1, "Intel AES-NI"). */
export const aesMeanings = withVex({
  AESENC: encrypt(false),
  AESENCLAST: encrypt(true),
  AESDEC: decrypt(false),
  AESDECLAST: decrypt(true),
  AESIMC: packedUnary((x, a) => mixInverse(x.code, a)),
  AESKEYGENASSIST: keygenAssist,
});
