import { NUMERIC, type NumericInstruction } from '@nestvm/wasm';
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

/** What folding needs to know of a numeric instruction. */
interface Operation {
  readonly instruction: NumericInstruction;
  readonly fold32: Fold32 | undefined;
  readonly fold64: Fold64 | undefined;
  readonly isInteger: boolean;
  /** Of integers, x with zero as the second operand is x. */
  readonly hasZero: boolean;
  /** Of integers, and the operands may be exchanged. */
  readonly commutes: boolean;
}

const describe = (instruction: NumericInstruction): Operation => {
  const { name } = instruction;
  const isInteger = name[0] === 'i';
  const operation = name.slice(4);
  return {
    instruction,
    fold32: FOLD32[name],
    fold64: FOLD64[name],
    isInteger,
    hasZero: isInteger && ZERO_IS_IDENTITY.has(operation),
    commutes: isInteger && COMMUTES.has(operation),
  };
};

const OPERATIONS = new Map(Object.entries(NUMERIC).map(([name, instruction]) => [name, describe(instruction)]));

/** The numeric instruction of a name. */
export const operationOf = (name: string): Operation | undefined => OPERATIONS.get(name);

/** Makes nodes of the same function, for folds that need some. */
export interface FoldHost {
  numeric(name: string, args: readonly Node[]): Node;
  /** A constant of the type of `like`. */
  constantLike(like: Node, value: number | bigint): Node;
}

/** Result of constant folding: a node, a constant of the instruction's type, or nothing. */
export type Folded = Node | number | bigint | null;

/** Folds what is known when the code is written: constants, and identities such as x + 0. */
export function fold(operation: Operation, args: readonly Node[], host: FoldHost): Folded {
  const [a, b] = args;
  if (b === undefined) return isConst(a) ? foldUnary(operation.instruction.name, a) : null;
  if (!isConst(b)) return isConst(a) && operation.commutes ? foldIdentity(operation, b, a) : null;
  if (isConst(a)) {
    const { fold32, fold64 } = operation;
    if (fold32 !== undefined) return fold32(a.value as number, b.value as number);
    if (fold64 !== undefined) return BigInt.asIntN(64, fold64(a.value as bigint, b.value as bigint));
    return null;
  }
  return foldIdentity(operation, a, b) ?? foldSum(operation.instruction.name, a, b, host);
}

/** (x + c) + d = x + (c + d): addresses are made that way. */
function foldSum(name: string, a: Node, b: Node, host: FoldHost): Folded {
  if ((name !== 'i64.add' && name !== 'i32.add') || a.kind !== Kind.OP || a.instruction?.name !== name) return null;
  const inner = a.args[1]!;
  if (!isConst(inner)) return null;
  const sum = typeof b.value === 'bigint' ? (inner.value as bigint) + b.value : (inner.value as number) + (b.value as number);
  return host.numeric(name, [a.args[0]!, host.constantLike(b, sum)]);
}

function foldUnary(name: string, a: Node): Folded {
  switch (name) {
    case 'i64.extend_i32_u':
      return BigInt((a.value as number) >>> 0);
    case 'i64.extend_i32_s':
      return BigInt(a.value as number);
    case 'i32.wrap_i64':
      return Number(BigInt.asIntN(32, a.value as bigint));
    case 'i32.eqz':
      return a.value === 0 ? 1 : 0;
    case 'i32.extend8_s':
      return ((a.value as number) << 24) >> 24;
    case 'i32.extend16_s':
      return ((a.value as number) << 16) >> 16;
    default:
      return null;
  }
}

function foldIdentity(operation: Operation, a: Node, b: Node): Node | null {
  if (!operation.isInteger) return null;
  const { name } = operation.instruction;
  const isZero = b.value === 0 || b.value === 0n;
  if (isZero && operation.hasZero) return a;
  const isOnes = b.value === -1 || b.value === -1n;
  if (isOnes && (name === 'i32.and' || name === 'i64.and')) return a;
  // (x & m) & n = x & (m & n); a zero-extending load needs no mask of its own width.
  if (name === 'i32.and' && a.kind === Kind.LOAD) {
    const mask = b.value as number;
    if ((a.memory?.name === 'i32.load8_u' && (mask & 0xff) === 0xff) || (a.memory?.name === 'i32.load16_u' && (mask & 0xffff) === 0xffff)) return a;
  }
  return null;
}
