import type { IntWidth, Val } from '@nestvm/emit';
import type { Context } from '../context.js';
import type { Emitter, Meanings } from '../emitter.js';
import { instruction } from '../instruction.js';
import { operandWidth } from '../operand.js';
import { MULTIPLY_HIGH } from './wide.js';

type BitChange = ((value: Val<IntWidth>, mask: Val<IntWidth>) => Val<IntWidth>) | null;

/** BT family. A register bit offset reaches beyond a memory operand: the address moves by whole operands. */
function bitTest(change: BitChange): Emitter {
  return (x) => {
    const [first, second] = x.facts.row.operands;
    const width = operandWidth(first.type, x.facts.operandSize);
    const fromRegister = second.method === 'G';
    const offset: Val<IntWidth> = fromRegister
      ? x.readGpr(width, x.fields.reg())
      : x.fields
          .immediate32()
          .zext(width === 64 ? 64 : 32)
          .trunc(width);
    const bit = (offset.trunc(32) as Val<32>).and(width - 1);
    const one: Val<IntWidth> = x.const(width, 1).shl(bit);
    const finish = (value: Val<IntWidth>, write: (v: Val<IntWidth>) => void): void => {
      const cf = (value.shrU(bit).trunc(32) as Val<32>).and(1);
      if (change) write(change(value, one));
      x.flags.setCarry(cf);
    };
    if (!x.facts.memory) return finish(x.readGpr(width, x.fields.rm()), (v) => x.writeGpr(width, x.fields.rm(), v));
    let address = x.effectiveAddress();
    if (fromRegister) {
      address = address.add(
        offset
          .sext(64)
          .shrS(width === 64 ? 6 : width === 32 ? 5 : 4)
          .shl(width === 64 ? 3 : width === 32 ? 2 : 1),
      );
      if (x.facts.addressSize !== 64) address = address.and(x.facts.addressSize === 32 ? 0xffffffffn : 0xffffn);
    }
    const linear = x.linear(address, width / 8, change ? 1 : 0);
    if (!change) return finish(x.engine.load(x, width, linear), () => undefined);
    const place = x.engine.modify(x, width, linear);
    finish(place.read(), (v) => place.write(v));
  };
}

/** BSF and BSR: a zero source sets ZF and leaves the whole destination as it was (APM Vol. 3, "BSF"; undefined in the SDM). */
function bitScan(position: (source: Val<IntWidth>) => Val<IntWidth>): Emitter {
  return instruction((x, dst, src) => {
    const source = src.read();
    const found = source.isNonzero();
    x.code.if(found, () => dst.write(position(source)));
    x.flags.logic(found.zext(64) as Val<64>);
  });
}

/** Leading zeros at the value's own width. */
const leadingZeros = (v: Val<IntWidth>): Val<IntWidth> =>
  v.width < 32
    ? v
        .as(32)
        .clz()
        .sub(32 - v.width)
        .as(v.width)
    : v.clz();
/** Trailing zeros at the value's own width. */
const trailingZeros = (v: Val<IntWidth>): Val<IntWidth> =>
  v.width < 32
    ? v
        .as(32)
        .or(1 << v.width)
        .ctz()
        .as(v.width)
    : v.ctz();

/** LZCNT and TZCNT: CF says that the source was zero, ZF that the result is. */
function countZeros(count: (v: Val<IntWidth>) => Val<IntWidth>): Emitter {
  return instruction((x, dst, src) => {
    const source = src.read();
    const result = count(source);
    dst.write(result);
    const cf = source.isZero();
    x.flags.carryOverflow(result, cf, x.const(32, 0));
  });
}

/** PDEP and PEXT walk the mask's set bits. */
function scatterGather(x: Context, source: Val<64>, mask: Val<64>, deposit: boolean): Val<64> {
  const { code } = x;
  const rest = code.variable(mask);
  const result = code.variable(x.const(64, 0));
  const bit = code.variable(x.const(64, 1));
  const from = code.variable(source);
  code.while(
    () => rest.get().isNonzero(),
    () => {
      const m = rest.get();
      const lowest = m.and(m.neg());
      const taken = deposit ? from.get().and(1) : source.and(lowest).isNonzero().zext(64);
      result.set(result.get().or(taken.neg().and(deposit ? lowest : bit.get())));
      from.set(from.get().shrU(1));
      bit.set(bit.get().shl(1));
      rest.set(m.and(m.sub(1)));
    },
  );
  return result.get();
}

const parallel = (deposit: boolean): Emitter =>
  instruction((x, dst, src, mask) => dst.write(scatterGather(x, src.read().zext(64), mask.read().zext(64), deposit).trunc(dst.width)));

/** BLSR, BLSMSK, BLSI. */
function lowestBit(body: (v: Val<IntWidth>) => Val<IntWidth>, carry: (v: Val<IntWidth>) => Val<32>): Emitter {
  return instruction((x, dst, src) => {
    const source = src.read();
    const result = body(source);
    dst.write(result);
    x.flags.carryOverflow(result, carry(source), x.const(32, 0));
  });
}

/** SHLX, SHRX, SARX: no flags, count masked. */
const flaglessShift = (body: (a: Val<IntWidth>, n: Val<32>) => Val<IntWidth>): Emitter =>
  instruction((_, dst, src, count) => dst.write(body(src.read(), (count.read().trunc(32) as Val<32>).and(dst.width - 1))));

/** ADCX and ADOX: an addition whose carry lives in one flag only. */
function singleCarry(overflow: boolean): Emitter {
  return instruction((x, dst, src) => {
    const [a, b] = [dst.read(), src.read()];
    const carry = overflow ? x.flags.of() : x.flags.cf();
    const sum = a.add(b);
    const result = sum.add(carry.zext(a.width === 64 ? 64 : 32) as Val<IntWidth>);
    const out = sum.ltU(a).or(result.ltU(sum));
    if (overflow) x.flags.setCarryOverflow(x.flags.cf(), out);
    else x.flags.setCarryOverflow(out, x.flags.of());
    dst.write(result);
  });
}

/** CRC32 (polynomial 11EDC6F41H), one bit a turn. */
const CRC32 = instruction((x, dst, src) => {
  const { code } = x;
  const { width } = src;
  const crc = code.variable(dst.read().trunc(32) as Val<32>);
  const data = src.read().zext(64) as Val<64>;
  const words = width === 64 ? [data.trunc(32), data.shrU(32).trunc(32)] : [data.trunc(32)];
  for (const word of words) {
    crc.set(crc.get().xor(word));
    const turns = code.variable(x.const(32, Math.min(width, 32)));
    code.loop((again) => {
      const value = crc.get();
      crc.set(value.shrU(1).xor(value.and(1).neg().and(0x82f63b78)));
      turns.set(turns.get().sub(1));
      again(turns.get());
    });
  }
  dst.write(dst.width === 64 ? crc.get().zext(64) : crc.get());
});

/** Bit and byte instructions, BMI1, BMI2, ADX (SDM Vol. 1, "Bit and Byte Instructions"). */
export const bits: Meanings = {
  BT: bitTest(null),
  BTS: bitTest((v, m) => v.or(m)),
  BTR: bitTest((v, m) => v.and(m.not())),
  BTC: bitTest((v, m) => v.xor(m)),
  BSF: bitScan(trailingZeros),
  BSR: bitScan((v) => (v.width < 32 ? x31(v.as(32)).as(v.width) : v.clz().xor(v.width - 1))),
  LZCNT: countZeros(leadingZeros),
  TZCNT: countZeros(trailingZeros),
  POPCNT: instruction((x, dst, src) => {
    const result = src.read().popcnt();
    dst.write(result);
    x.flags.set({ cf: x.const(32, 0), pf: x.const(32, 0), af: x.const(32, 0), zf: result.isZero(), sf: x.const(32, 0), of: x.const(32, 0) });
  }),
  ANDN: instruction((x, dst, a, b) => {
    const result = a.read().not().and(b.read());
    dst.write(result);
    x.flags.logic(result);
  }),
  BEXTR: instruction((x, dst, src, control) => {
    const value = src.read().zext(64) as Val<64>;
    const c = control.read().trunc(32) as Val<32>;
    const [start, length] = [c.and(0xff), c.shrU(8).and(0xff)];
    const shifted = x.code.select(start.ltU(64), value.shrU(start), x.const(64, 0));
    const mask = x.code.select(length.ltU(64), x.const(64, 1).shl(length).sub(1), x.const(64, -1));
    const result = shifted.and(mask).trunc(dst.width);
    dst.write(result);
    x.flags.logic(result);
  }),
  BZHI: instruction((x, dst, src, index) => {
    const n = (index.read().trunc(32) as Val<32>).and(0xff);
    const source = src.read();
    const inside = n.ltU(dst.width);
    const mask = x.const(64, 1).shl(n).sub(1).trunc(dst.width);
    const result = x.code.select(inside, source.and(mask as Val<IntWidth>), source);
    dst.write(result);
    x.flags.carryOverflow(result, inside.isZero(), x.const(32, 0));
  }),
  BLSR: lowestBit(
    (v) => v.and(v.sub(1)),
    (v) => v.isZero(),
  ),
  BLSMSK: lowestBit(
    (v) => v.xor(v.sub(1)),
    (v) => v.isZero(),
  ),
  BLSI: lowestBit(
    (v) => v.and(v.neg()),
    (v) => v.isNonzero(),
  ),
  PDEP: parallel(true),
  PEXT: parallel(false),
  SHLX: flaglessShift((a, n) => a.shl(n)),
  SHRX: flaglessShift((a, n) => a.shrU(n)),
  SARX: flaglessShift((a, n) => a.shrS(n)),
  RORX: instruction((_, dst, src, count) => dst.write(src.read().rotr(count.read().trunc(32) as Val<32>))),
  MULX: (x) =>
    instruction((y, high, low, src) => {
      const a = y.gpr(high.width, 2);
      const b = src.read();
      const { wide } = multiplyParts(y, a, b);
      low.write(wide.low);
      high.write(wide.high);
    })(x),
  ADCX: singleCarry(false),
  ADOX: singleCarry(true),
  CRC32,
};

const x31 = (v: Val<32>): Val<32> => v.clz().xor(31);

function multiplyParts(x: Context, a: Val<IntWidth>, b: Val<IntWidth>): { wide: { low: Val<IntWidth>; high: Val<IntWidth> } } {
  if (a.width === 64) return { wide: { low: a.mul(b), high: x.code.call(MULTIPLY_HIGH, 64, a, b) } };
  const product = a.zext(64).mul(b.zext(64));
  return { wide: { low: product.trunc(a.width), high: product.shrU(32).trunc(a.width) } };
}
