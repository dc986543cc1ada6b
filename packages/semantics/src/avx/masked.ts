import { Kind, type Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { range } from '../vector/lanes.js';
import { linearPlus, output, typeBytes, vectorAt, vectorBytes } from '../vector/operand.js';

type V = Val<128>;
const SHAPE = { 4: 'i32x4', 8: 'i64x2' } as const;

/** A load that no alignment check stops (SDM Vol. 2, "VGATHERDPS", "VMASKMOV"): byte by byte where one would. */
function loadUnaligned(x: Context, width: 32 | 64, linear: Val<64>): Val<32 | 64> {
  if (!x.facts.aligned) return x.engine.load(x, width, linear);
  const bytes = range(width / 8).map((i) =>
    x.engine
      .load(x, 8, linearPlus(x, linear, i))
      .zext(64)
      .shl(8 * i),
  );
  return bytes.reduce((a, b) => a.or(b)).trunc(width);
}

/** Signs of all elements of 1 or 2 chunks, as bits. */
function signs(x: Context, size: 4 | 8, chunks: readonly V[]): Val<32> {
  const bits = chunks.map((chunk, i) => x.code.op(`${SHAPE[size]}.bitmask`, 32, chunk).shl((16 / size) * i));
  return bits[1] === undefined ? (bits[0] as Val<32>) : (bits[0] as Val<32>).or(bits[1]);
}

/** A masked load: elements whose mask sign is clear are not touched and become 0. */
const maskLoad =
  (size: 4 | 8): Emitter =>
  (x) => {
    const { code } = x;
    const width = (8 * size) as 32 | 64;
    const lanes = 16 / size;
    const mask = signs(x, size, vectorAt(x, 1).read());
    const linear = x.operandAddress(vectorBytes(x), 0);
    const chunks = range(vectorBytes(x) / 16).map((chunk) => {
      const value = code.variable(code.constant128(new Uint8Array(16)));
      for (const lane of range(lanes)) {
        const element = chunk * lanes + lane;
        code.if(mask.and(1 << element), () => {
          const loaded = loadUnaligned(x, width, linearPlus(x, linear, element * size));
          value.set(code.lane(`${SHAPE[size]}.replace_lane`, 128, lane, value.get(), loaded));
        });
      }
      return value.get();
    });
    output(x).write(chunks);
  };

/** A masked store: elements whose mask sign is clear are not touched; all others are checked before the first is written. */
const maskStore =
  (size: 4 | 8): Emitter =>
  (x) => {
    const { code, engine } = x;
    const width = (8 * size) as 32 | 64;
    const values = vectorAt(x, 2).read();
    const mask = signs(x, size, vectorAt(x, 1).read());
    const linear = x.operandAddress(vectorBytes(x), 1);
    const each = (body: (address: Val<64>, element: number) => void): void => {
      for (const element of range(vectorBytes(x) / size)) code.if(mask.and(1 << element), () => body(linearPlus(x, linear, element * size), element));
    };
    each((address) => engine.probeWrite(x, size, address));
    each((address, element) => {
      const lanes = 16 / size;
      const value = code.lane(`${SHAPE[size]}.extract_lane`, width, element % lanes, values[Math.floor(element / lanes)] as V);
      engine.store(x, width, address, value);
    });
  };

/** VMASKMOVPx and VPMASKMOVx load or store by their first operand. */
const maskMove =
  (size: 4 | 8): Emitter =>
  (x) =>
    (x.facts.row.operands[0]!.method === 'M' ? maskStore(size) : maskLoad(size))(x);

/**
 * A gather: element by element, lowest first. Each element that is done is written and its mask cleared at once, so that a fault in a later
 * one leaves a state from which the instruction can go on (SDM Vol. 2, "VGATHERDPS").
 */
const gather =
  (size: 4 | 8, indexSize: 4 | 8): Emitter =>
  (x) => {
    const { code, fields, facts } = x;
    const width = (8 * size) as 32 | 64;
    const place = (offset: Val<32>): ((extra: number) => [Val<32>, number]) => {
      if (offset.node.kind === Kind.CONST) return (extra) => [x.cpu, (offset.node.value as number) + extra];
      const base = x.cpu.add(offset);
      return (extra) => [base, extra];
    };
    const [target, mask, index] = [place(fields.reg()), place(fields.vvvv()), place(fields.index())];
    const bytes = typeBytes(x, facts.row.operands[0]!.type);
    const count = Math.min(bytes / size, (facts.vectorLength === 256 ? 32 : 16) / indexSize);
    const start = x.readState(64, fields.base()).add(fields.displacement().sext(64));
    for (const i of range(count)) {
      const signAt = mask(size * i + size - 1);
      code.if(code.load('i32.load8_u', 32, ...signAt).and(0x80), () => {
        const offset = indexSize === 4 ? code.load('i32.load', 32, ...index(4 * i)).sext(64) : code.load('i64.load', 64, ...index(8 * i));
        const sum = start.add(offset.shl(fields.scale()));
        const linear = x.linear(facts.addressSize === 64 ? sum : sum.and(facts.addressSize === 32 ? 0xffffffffn : 0xffffn), size, 0);
        const value = loadUnaligned(x, width, linear);
        code.store(size === 4 ? 'i32.store' : 'i64.store', target(size * i)[0], value, target(size * i)[1]);
      });
      code.store(size === 4 ? 'i32.store' : 'i64.store', mask(size * i)[0], code.constant(width, 0), mask(size * i)[1]);
    }
    const zero = code.constant128(new Uint8Array(16));
    for (let at = 0; at < 64; at += 16) code.store('v128.store', mask(at)[0], zero, mask(at)[1]);
    if (count * size === 8) code.store('i64.store', target(8)[0], code.constant(64, 0), target(8)[1]);
    for (let at = Math.max(16, count * size); at < 64; at += 16) code.store('v128.store', target(at)[0], zero, target(at)[1]);
  };

/** Masked moves of AVX and AVX2, and gathers. */
export const maskedMeanings: Record<string, Emitter> = {
  VMASKMOVPS: maskMove(4),
  VMASKMOVPD: maskMove(8),
  VPMASKMOVD: maskMove(4),
  VPMASKMOVQ: maskMove(8),
  VPGATHERDD: gather(4, 4),
  VPGATHERQD: gather(4, 8),
  VPGATHERDQ: gather(8, 4),
  VPGATHERQQ: gather(8, 8),
  VGATHERDPS: gather(4, 4),
  VGATHERQPS: gather(4, 8),
  VGATHERDPD: gather(8, 4),
  VGATHERQPD: gather(8, 8),
};
