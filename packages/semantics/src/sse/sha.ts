import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { dword, range, replace32, splatConstant } from '../vector/lanes.js';
import { xmm0 } from '../vector/operand.js';
import { packed } from '../vector/packed.js';

type V = Val<128>;
type I = Val<32>;

/** Dwords of a vector, lowest first. */
const words = (x: Context, value: V): [I, I, I, I] => range(4).map((i) => dword(x, i, value)) as [I, I, I, I];
/** A vector of four dwords, lowest first. */
const vector = (x: Context, values: readonly I[]): V => values.reduce((into, value, i) => replace32(x, i, into, value), splatConstant(x, 32, 0));

const choose = (b: I, c: I, d: I): I => b.and(c).xor(b.not().and(d));
const parity = (b: I, c: I, d: I): I => b.xor(c).xor(d);
const majority = (b: I, c: I, d: I): I => b.and(c).xor(b.and(d)).xor(c.and(d));

const SHA1_CONSTANTS = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6] as const;
const SHA1_FUNCTIONS = [choose, parity, majority, parity] as const;

/** Four rounds of SHA-1: A to D in a (A highest), the message words (E added to the first) in b. */
function rounds1(x: Context, a: V, b: V, kind: number): V {
  let [d, c, bb, aa] = words(x, a) as [I, I, I, I];
  const w = words(x, b);
  let e: I = x.const(32, 0);
  for (const i of range(4)) {
    const next = SHA1_FUNCTIONS[kind]!(bb, c, d)
      .add(aa.rotl(5))
      .add(w[3 - i]!)
      .add(e)
      .add(SHA1_CONSTANTS[kind]!);
    [e, d, c, bb, aa] = [d, c, bb.rotl(30), aa, next];
  }
  return vector(x, [d, c, bb, aa]);
}

const SHA1RNDS4: Emitter = packed((x, a, b) => {
  const { code } = x;
  const kind = x.fields.immediate32().and(3);
  return code.choose(
    kind.and(2),
    128,
    () =>
      code.choose(
        kind.and(1),
        128,
        () => rounds1(x, a, b, 3),
        () => rounds1(x, a, b, 2),
      ),
    () =>
      code.choose(
        kind.and(1),
        128,
        () => rounds1(x, a, b, 1),
        () => rounds1(x, a, b, 0),
      ),
  );
});

const SHA1MSG1: Emitter = packed((x, a, b) => {
  const [, , a2, a3] = words(x, a);
  const [a0, a1] = words(x, a);
  const [, , b2, b3] = words(x, b);
  return vector(x, [a0.xor(b2), a1.xor(b3), a2.xor(a0), a3.xor(a1)]);
});

const SHA1MSG2: Emitter = packed((x, a, b) => {
  const [a0, a1, a2, a3] = words(x, a);
  const [b0, b1, b2] = words(x, b);
  const w16 = a3.xor(b2).rotl(1);
  return vector(x, [a0.xor(w16).rotl(1), a1.xor(b0).rotl(1), a2.xor(b1).rotl(1), w16]);
});

const SHA1NEXTE: Emitter = packed((x, a, b) => replace32(x, 3, b, dword(x, 3, b).add(dword(x, 3, a).rotl(30))));

const small0 = (w: I): I => w.rotr(7).xor(w.rotr(18)).xor(w.shrU(3));
const small1 = (w: I): I => w.rotr(17).xor(w.rotr(19)).xor(w.shrU(10));

const SHA256MSG1: Emitter = packed((x, a, b) => {
  const [w0, w1, w2, w3] = words(x, a);
  return vector(x, [w0.add(small0(w1)), w1.add(small0(w2)), w2.add(small0(w3)), w3.add(small0(dword(x, 0, b)))]);
});

const SHA256MSG2: Emitter = packed((x, a, b) => {
  const [a0, a1, a2, a3] = words(x, a);
  const w16 = a0.add(small1(dword(x, 2, b)));
  const w17 = a1.add(small1(dword(x, 3, b)));
  return vector(x, [w16, w17, a2.add(small1(w16)), a3.add(small1(w17))]);
});

/** Two rounds: C D G H in the first operand, A B E F in the second (highest first), the message words with constants in XMM0. */
const SHA256RNDS2: Emitter = packed((x, first, second) => {
  let [h, g, d, c] = words(x, first);
  let [f, e, b, a] = words(x, second);
  const w = words(x, xmm0(x).read()[0] as V);
  for (const i of range(2)) {
    const t = choose(e, f, g)
      .add(e.rotr(6).xor(e.rotr(11)).xor(e.rotr(25)))
      .add(w[i]!)
      .add(h);
    const next = t.add(majority(a, b, c)).add(a.rotr(2).xor(a.rotr(13)).xor(a.rotr(22)));
    [h, g, f, e, d, c, b, a] = [g, f, e, t.add(d), c, b, a, next];
  }
  return vector(x, [f, e, b, a]);
});

/** The SHA extensions (SDM Vol. 1, "Intel SHA Extensions"). */
export const shaMeanings: Record<string, Emitter> = { SHA1RNDS4, SHA1MSG1, SHA1MSG2, SHA1NEXTE, SHA256MSG1, SHA256MSG2, SHA256RNDS2 };
