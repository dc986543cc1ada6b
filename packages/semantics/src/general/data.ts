import { type IntWidth, type Val } from '@nestvm/emit';
import { Gpr, vcpuState } from '@nestvm/isa';
import { type Context, Vector } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { instruction, widen } from '../instruction.js';
import { operandWidth } from '../operand.js';

const conditionOf = (x: Context): Val<32> => x.flags.condition(x.facts.row.code.opcode & 15);

const CMOV = instruction((x, dst, src) => {
  const value = src.read();
  dst.write(x.code.select(conditionOf(x), value, dst.read()));
});
const SETCC = instruction((x, dst) => dst.write(conditionOf(x).trunc(8)));

const CONDITIONS = ['O', 'NO', 'B', 'AE', 'E', 'NE', 'BE', 'A', 'S', 'NS', 'P', 'NP', 'L', 'GE', 'LE', 'G'] as const;

/** One emitter under the sixteen names of a conditional instruction. */
export const byCondition = (prefix: string, emitter: Emitter): Meanings => Object.fromEntries(CONDITIONS.map((c) => [`${prefix}${c}`, emitter]));

/** CMPXCHG8B and CMPXCHG16B: the pair rDX:rAX against memory. */
function compareExchangePair(half: 32 | 64): Emitter {
  return (x) => {
    const { code, engine } = x;
    const linear = x.operandAddress(half / 4, 1);
    if (half === 64) x.faultIf(linear.and(15).isNonzero(), Vector.GP, 0);
    const [rax, rdx] = [x.gpr(half, Gpr.RAX), x.gpr(half, Gpr.RDX)];
    const same = code.variable(x.const(32, 0));
    if (half === 64) {
      const place = engine.modify(x, 128, linear);
      const value = place.read();
      const [low, high] = [code.lane('i64x2.extract_lane', 64, 0, value), code.lane('i64x2.extract_lane', 64, 1, value)];
      same.set(low.eq(rax as Val<64>).and(high.eq(rdx as Val<64>)));
      const fresh = code.lane('i64x2.replace_lane', 128, 1, code.op('i64x2.splat', 128, x.gpr(64, Gpr.RBX)), x.gpr(64, Gpr.RCX));
      place.write(code.op('v128.bitselect', 128, fresh, value, code.op('i64x2.splat', 128, same.get().neg().sext(64))));
      keepPair(x, half, same.get(), low, high);
    } else {
      const place = engine.modify(x, 64, linear);
      const value = place.read();
      same.set(value.eq(rdx.zext(64).shl(32).or(rax.zext(64))));
      place.write(code.select(same.get(), x.gpr(32, Gpr.RCX).zext(64).shl(32).or(x.gpr(32, Gpr.RBX).zext(64)), value));
      keepPair(x, half, same.get(), value.trunc(32), value.shrU(32).trunc(32));
    }
    setZero(x, same.get());
  };
}

/** When the comparison failed, rDX:rAX take what memory had. */
function keepPair(x: Context, half: 32 | 64, same: Val<32>, low: Val<IntWidth>, high: Val<IntWidth>): void {
  x.code.if(same.isZero(), () => {
    x.setGpr(half, Gpr.RAX, low as Val<32>);
    x.setGpr(half, Gpr.RDX, high as Val<32>);
  });
}

/** Changes ZF alone. */
function setZero(x: Context, zf: Val<32>): void {
  const { flags } = x;
  flags.set({ cf: flags.cf(), pf: flags.pf(), af: flags.af(), zf, sf: flags.sf(), of: flags.of() });
}

/** MOVBE: bytes in reverse order. */
function swapBytes(value: Val<IntWidth>): Val<IntWidth> {
  switch (value.width) {
    case 16:
      return value.shl(8).or(value.shrU(8));
    case 32:
      return swap32(value as Val<32>);
    default:
      return swap32(value.trunc(32) as Val<32>)
        .zext(64)
        .shl(32)
        .or(swap32(value.shrU(32).trunc(32) as Val<32>).zext(64));
  }
}
const swap32 = (v: Val<32>): Val<32> =>
  v
    .rotl(8)
    .and(0x00ff00ff)
    .or(v.rotr(8).and(0xff00ff00 | 0));

const MOVBE = instruction((_, dst, src) => dst.write(swapBytes(src.read())));

/** Instructions that do nothing that software could see here: hints, and fences in a machine whose vCPUs take turns. */
const HINTS = [
  'NOP',
  'PREFETCH',
  'PREFETCHW',
  'PREFETCHWT1',
  'PREFETCHNTA',
  'PREFETCHT0',
  'PREFETCHT1',
  'PREFETCHT2',
  'CLDEMOTE',
  'ENDBR32',
  'ENDBR64',
  'RDSSP',
  'LFENCE',
  'MFENCE',
  'SFENCE',
  'SERIALIZE',
];

/** Register numbers that take part in AH/AL forms. */
const AH = vcpuState.offset.gpr + 1;

/** Data transfer (SDM Vol. 1, "Data Transfer Instructions"). */
export const data: Meanings = {
  MOV: instruction((_, dst, src) => dst.write(widen(src.read(), dst.width))),
  MOVZX: instruction((_, dst, src) => dst.write(src.read().zext(dst.width))),
  MOVSX: instruction((_, dst, src) => dst.write(src.read().sext(dst.width))),
  MOVSXD: instruction((_, dst, src) => dst.write(src.read().sext(dst.width))),
  MOVBE,
  LEA: (x) => {
    const width = operandWidth('v', x.facts.operandSize);
    x.writeGpr(width, x.fields.reg(), x.effectiveAddress().trunc(width));
  },
  XCHG: instruction((_, dst, src) => {
    const b = src.read();
    const a = dst.modify();
    dst.write(b);
    src.write(a);
  }),
  XADD: instruction((x, dst, src) => {
    const b = src.read();
    const a = dst.modify();
    const sum = a.add(b);
    if (dst.isMemory) {
      dst.write(sum);
      src.write(a);
    } else {
      src.write(a);
      dst.write(sum);
    }
    x.flags.add(sum, a, b);
  }),
  CMPXCHG: instruction((x, dst, src) => {
    const replacement = src.read();
    const accumulator = x.gpr(dst.width, Gpr.RAX);
    const current = dst.modify();
    const same = accumulator.eq(current);
    const result = accumulator.sub(current);
    // Memory is written either way; an unequal register keeps its upper half too.
    if (dst.isMemory) dst.write(x.code.select(same, replacement, current));
    x.code.if(
      same,
      () => (dst.isMemory ? undefined : dst.write(replacement)),
      () => x.setGpr(dst.width, Gpr.RAX, current),
    );
    x.flags.sub(result, accumulator, current);
  }),
  CMPXCHG8B: compareExchangePair(32),
  CMPXCHG16B: compareExchangePair(64),
  BSWAP: instruction((x, dst) => dst.write(dst.width === 16 ? x.const(16, 0) : swapBytes(dst.read()))),
  ...byCondition('CMOV', CMOV),
  ...byCondition('SET', SETCC),
  /** CBW, CWDE, CDQE: rAX from its lower half. */
  CBW: (x) => {
    const width = x.facts.operandSize;
    const half = (width / 2) as 8 | 16 | 32;
    x.setGpr(width, Gpr.RAX, x.gpr(half, Gpr.RAX).sext(width));
  },
  /** CWD, CDQ, CQO: rDX gets the sign of rAX. */
  CWD: (x) => {
    const width = x.facts.operandSize;
    x.setGpr(width, Gpr.RDX, x.gpr(width, Gpr.RAX).shrS(width - 1));
  },
  XLAT: (x) => {
    const { addressSize } = x.facts;
    const offset = x.gpr(addressSize, Gpr.RBX).zext(64).add(x.gpr(8, Gpr.RAX).zext(64));
    const cut = addressSize === 64 ? offset : offset.and(addressSize === 32 ? 0xffffffffn : 0xffffn);
    x.setGpr(8, Gpr.RAX, x.engine.load(x, 8, x.linear(cut, 1, 0)));
  },
  LAHF: (x) => x.writeState(8, AH, x.flags.pack().or(2).trunc(8)),
  SAHF: (x) => {
    const image = x.readState(8, AH).as(32);
    const bit = (n: number): Val<32> => image.shrU(n).and(1);
    x.flags.set({ cf: bit(0), pf: bit(2), af: bit(4), zf: bit(6), sf: bit(7), of: x.flags.of() });
  },
  ...Object.fromEntries(HINTS.map((name) => [name, () => undefined])),
  /** Cache-line flushes: the operand must be readable, and there is no cache to flush. */
  ...Object.fromEntries(['CLFLUSH', 'CLFLUSHOPT', 'CLWB'].map((name) => [name, (x: Context): void => touch(x)])),
  MOVNTI: instruction((_, dst, src) => dst.write(src.read())),
};

/** Reads a byte of the operand for its faults alone. */
function touch(x: Context): void {
  const sink = x.code.variable(x.engine.load(x, 8, x.operandAddress(1, 0)).as(32));
  sink.set(sink.get());
}
