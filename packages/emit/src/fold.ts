import { Kind, type Node } from './node.js';

const isConst = (node: Node): boolean => node.kind === Kind.CONST;

type Fold32 = (a: number, b: number) => number;
const FOLD32: Record<string, Fold32 | undefined> = {
  'i32.add': (a, b) => (a + b) | 0,
  'i32.sub': (a, b) => (a - b) | 0,
  'i32.mul': (a, b) => Math.imul(a, b),
  'i32.and': (a, b) => a & b,
  'i32.or': (a, b) => a | b,
  'i32.xor': (a, b) => a ^ b,
  'i32.shl': (a, b) => a << b,
  'i32.shr_u': (a, b) => (a >>> b) | 0,
  'i32.shr_s': (a, b) => a >> b,
  'i32.eq': (a, b) => (a === b ? 1 : 0),
  'i32.ne': (a, b) => (a !== b ? 1 : 0),
  'i32.lt_u': (a, b) => (a >>> 0 < b >>> 0 ? 1 : 0),
  'i32.gt_u': (a, b) => (a >>> 0 > b >>> 0 ? 1 : 0),
  'i32.le_u': (a, b) => (a >>> 0 <= b >>> 0 ? 1 : 0),
  'i32.ge_u': (a, b) => (a >>> 0 >= b >>> 0 ? 1 : 0),
  'i32.lt_s': (a, b) => (a < b ? 1 : 0),
  'i32.gt_s': (a, b) => (a > b ? 1 : 0),
  'i32.le_s': (a, b) => (a <= b ? 1 : 0),
  'i32.ge_s': (a, b) => (a >= b ? 1 : 0),
};

type Fold64 = (a: bigint, b: bigint) => bigint;
const FOLD64: Record<string, Fold64 | undefined> = {
  'i64.add': (a, b) => a + b,
  'i64.sub': (a, b) => a - b,
  'i64.and': (a, b) => a & b,
  'i64.or': (a, b) => a | b,
  'i64.xor': (a, b) => a ^ b,
  'i64.shl': (a, b) => a << (b & 63n),
};

const ZERO_IS_IDENTITY = new Set(['add', 'sub', 'or', 'xor', 'shl', 'shr_u', 'shr_s', 'rotl', 'rotr']);

const COMMUTES = new Set(['add', 'and', 'or', 'xor']);

/** Makes a node of the same function, for folds that need one. */
export type MakeNode = (name: string, args: readonly Node[]) => Node;

/** Result of constant folding: an existing node, a constant of the instruction's type, or nothing. */
export type Folded = { readonly node: Node } | { readonly constant: number | bigint } | null;

/** Folds what is known when the code is written: constants, and identities such as x + 0. */
export function fold(name: string, args: readonly Node[], make: MakeNode, constant: (like: Node, value: number | bigint) => Node): Folded {
  const [a, b] = args;
  if (b === undefined) return foldUnary(name, a);
  if (!isConst(b)) return isConst(a) && COMMUTES.has(name.slice(4)) && name[0] === 'i' ? foldIdentity(name, b, a) : null;
  if (isConst(a)) {
    const fold32 = FOLD32[name];
    if (fold32 !== undefined) return { constant: fold32(a.value as number, b.value as number) };
    const fold64 = FOLD64[name];
    if (fold64 !== undefined) return { constant: BigInt.asIntN(64, fold64(a.value as bigint, b.value as bigint)) };
    return null;
  }
  return foldIdentity(name, a, b) ?? foldSum(name, a, b, make, constant);
}

/** (x + c) + d = x + (c + d): addresses are made that way. */
function foldSum(name: string, a: Node, b: Node, make: MakeNode, constant: (like: Node, value: number | bigint) => Node): Folded {
  if ((name !== 'i64.add' && name !== 'i32.add') || a.kind !== Kind.OP || a.instruction?.name !== name) return null;
  const inner = a.args[1]!;
  if (!isConst(inner)) return null;
  const sum = typeof b.value === 'bigint' ? (inner.value as bigint) + b.value : (inner.value as number) + (b.value as number);
  return { node: make(name, [a.args[0]!, constant(b, sum)]) };
}

function foldUnary(name: string, a: Node): Folded {
  if (!isConst(a)) return null;
  switch (name) {
    case 'i64.extend_i32_u':
      return { constant: BigInt((a.value as number) >>> 0) };
    case 'i64.extend_i32_s':
      return { constant: BigInt(a.value as number) };
    case 'i32.wrap_i64':
      return { constant: Number(BigInt.asIntN(32, a.value as bigint)) };
    case 'i32.eqz':
      return { constant: a.value === 0 ? 1 : 0 };
    case 'i32.extend8_s':
      return { constant: ((a.value as number) << 24) >> 24 };
    case 'i32.extend16_s':
      return { constant: ((a.value as number) << 16) >> 16 };
    default:
      return null;
  }
}

function foldIdentity(name: string, a: Node, b: Node): Folded {
  const operation = name.slice(4);
  if (name[0] !== 'i') return null;
  const isZero = b.value === 0 || b.value === 0n;
  if (isZero && ZERO_IS_IDENTITY.has(operation)) return { node: a };
  const isOnes = b.value === -1 || b.value === -1n;
  if (isOnes && operation === 'and') return { node: a };
  // (x & m) & n = x & (m & n); a zero-extending load needs no mask of its own width.
  if (name === 'i32.and' && a.kind === Kind.LOAD) {
    const mask = b.value as number;
    if ((a.memory?.name === 'i32.load8_u' && (mask & 0xff) === 0xff) || (a.memory?.name === 'i32.load16_u' && (mask & 0xffff) === 0xffff))
      return { node: a };
  }
  return null;
}
