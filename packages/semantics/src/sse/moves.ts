import type { Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Emitter } from '../emitter.js';
import { elements, pick, range } from '../vector/lanes.js';
import { withVex } from '../vector/naming.js';
import {
  from32,
  from64,
  high64,
  integerAt,
  isMmx,
  isVector,
  low32,
  low64,
  output,
  type VectorOperand,
  vectorAt,
  zero128,
} from '../vector/operand.js';
import { packedUnary } from '../vector/packed.js';

type V = Val<128>;
const first = (operand: VectorOperand): V => operand.read()[0] as V;

/** Whole operand to whole operand. */
const move: Emitter = packedUnary((_x, a) => a);

/** Low element: a load clears the rest, a register form keeps the rest of the merge source (destination, or vvvv). */
const moveScalar =
  (size: 4 | 8): Emitter =>
  (x) => {
    const last = x.facts.row.operands.length - 1;
    const target = output(x);
    const source = vectorAt(x, last);
    if (target.isMemory || source.isMemory) return target.write([first(source)]);
    const kept = first(vectorAt(x, last === 2 ? 1 : 0));
    const lanes = elements(size, [16 / size, ...range(16 / size).slice(1)]);
    target.write([x.code.shuffle(lanes, kept, first(source))]);
  };

/** MOVLPx, MOVHPx, MOVLHPS, MOVHLPS: 64-bit half `from` of the last operand to half `to` of the destination, which keeps the other half of the merge source. */
const moveHalf =
  (from: 0 | 1, to: 0 | 1): Emitter =>
  (x) => {
    const last = x.facts.row.operands.length - 1;
    const source = vectorAt(x, last);
    const target = output(x);
    const value = (from === 0 || source.isMemory ? low64 : high64)(first(source));
    if (target.isMemory) return target.write([from64(x, value)]);
    const kept = first(vectorAt(x, last === 2 ? 1 : 0));
    target.write([x.code.lane('i64x2.replace_lane', 128, to, kept, value)]);
  };

/** MOVLPx and MOVHPx are both loads into and stores from one half. */
const movePart =
  (half: 0 | 1): Emitter =>
  (x) =>
    x.facts.row.operands[0]!.method === 'M' ? moveHalf(half, 0)(x) : moveHalf(0, half)(x);

/** MOVD and MOVQ: between general registers, vector registers and memory; a vector destination is zero-extended. */
const moveLow =
  (width: 32 | 64): Emitter =>
  (x) => {
    const [to, from] = x.facts.row.operands;
    if (!isVector(from!)) {
      const value = integerAt(x, 1).read();
      return vectorAt(x, 0).write([width === 64 ? from64(x, value as Val<64>) : from32(x, value as Val<32>)]);
    }
    const source = first(vectorAt(x, 1));
    if (isVector(to!)) return vectorAt(x, 0).write([from64(x, low64(source))]);
    integerAt(x, 0).write(width === 64 ? low64(source) : low32(source));
  };

/** Sign bits of the elements to a general register. */
const moveMask =
  (shape: string): Emitter =>
  (x) => {
    const { code } = x;
    const [low, high] = vectorAt(x, 1).read();
    const lanes = { i8x16: 16, i32x4: 4, i64x2: 2 }[shape] as number;
    const mask = code.op(`${shape}.bitmask`, 32, low as V);
    const all = high === undefined ? mask : mask.or(code.op(`${shape}.bitmask`, 32, high).shl(lanes));
    const target = integerAt(x, 0);
    target.write(target.width === 64 ? all.zext(64) : all);
  };

/** Bytes of the first operand whose mask byte has its top bit set go to DS:rDI; nothing is accessed for an empty mask. */
const maskMove: Emitter = (x) => {
  const { code } = x;
  const value = first(vectorAt(x, 0));
  const mask = code.op('i8x16.shr_s', 128, first(vectorAt(x, 1)), x.const(32, 7));
  code.if(code.op('v128.any_true', 32, mask), () => {
    const { addressSize } = x.facts;
    const rdi = x.gpr(addressSize, 7).zext(64);
    const width = isMmx(x) ? 64 : 128;
    const linear = x.linear(rdi, width / 8, 1);
    const target = x.engine.modify(x, width, linear);
    const old = isMmx(x) ? from64(x, target.read() as Val<64>) : (target.read() as V);
    const merged = code.op('v128.bitselect', 128, value, old, mask);
    target.write(isMmx(x) ? low64(merged) : merged);
  });
};

/** Even or odd elements doubled. */
const duplicate = (size: 4 | 8, picks: readonly number[]): Emitter => packedUnary((x, a) => pick(x, size, picks, a));

/** Clears bits of the vector registers above 127, or all of them; of the registers that the mode reaches. */
const zeroVectors =
  (from: number): Emitter =>
  (x) => {
    for (let i = 0; i < (x.facts.long ? 16 : 8); i++) {
      for (let at = from; at < 64; at += 16) x.writeState(128, vcpuState.offset.vec + 64 * i + at, zero128(x));
    }
  };

/** Moves of MMX, SSE and their VEX forms (SDM Vol. 1, chapter 5). */
export const moveMeanings: Record<string, Emitter> = {
  ...withVex({
    ...Object.fromEntries(
      ['MOVAPS', 'MOVAPD', 'MOVUPS', 'MOVUPD', 'MOVDQA', 'MOVDQU', 'LDDQU', 'MOVNTDQ', 'MOVNTDQA', 'MOVNTPS', 'MOVNTPD'].map((m) => [m, move]),
    ),
    MOVSS: moveScalar(4),
    MOVSD: moveScalar(8),
    MOVLPS: movePart(0),
    MOVLPD: movePart(0),
    MOVHPS: movePart(1),
    MOVHPD: movePart(1),
    MOVLHPS: moveHalf(0, 1),
    MOVHLPS: moveHalf(1, 0),
    MOVD: moveLow(32),
    MOVQ: moveLow(64),
    PMOVMSKB: moveMask('i8x16'),
    MOVMSKPS: moveMask('i32x4'),
    MOVMSKPD: moveMask('i64x2'),
    MASKMOVDQU: maskMove,
    MOVSLDUP: duplicate(4, [0, 0, 2, 2]),
    MOVSHDUP: duplicate(4, [1, 1, 3, 3]),
    MOVDDUP: duplicate(8, [0, 0]),
  }),
  MOVNTQ: move,
  MASKMOVQ: maskMove,
  MOVQ2DQ: moveLow(64),
  MOVDQ2Q: moveLow(64),
  MOVNTSS: move,
  MOVNTSD: move,
  VZEROUPPER: zeroVectors(16),
  VZEROALL: zeroVectors(0),
};
