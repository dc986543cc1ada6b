import type { IntWidth, Val } from '@nestvm/emit';
import { Gpr, Segment } from '@nestvm/isa';
import type { Context } from '../context.js';
import { operandWidth } from '../operand.js';

/** The operands of one string instruction. */
export interface StringOperation {
  readonly width: IntWidth;
  /** rSI and rDI at the address size, as 64 bits. */
  source(): Val<64>;
  target(): Val<64>;
  /** Linear addresses of the current elements. */
  sourceLinear(access?: 0 | 1): Val<64>;
  targetLinear(access: 0 | 1): Val<64>;
  /** Moves rSI or rDI by one element. */
  advance(register: number): void;
}

/** The operands of the instruction being written. */
export function operation(x: Context): StringOperation {
  const { addressSize, row, operandSize } = x.facts;
  const spec = row.operands.find((o) => o.method === 'X' || o.method === 'Y');
  const width = operandWidth(spec?.type ?? 'b', operandSize);
  const bytes = width / 8;
  const read = (register: number): Val<64> => x.gpr(addressSize, register).zext(64);
  return {
    width,
    source: () => read(Gpr.RSI),
    target: () => read(Gpr.RDI),
    sourceLinear: () => x.linear(read(Gpr.RSI), bytes, 0),
    targetLinear: (access) =>
      x.facts.stackSegment === 'none' ? read(Gpr.RDI) : x.engine.checkSegment(x, x.const(32, Segment.ES), read(Gpr.RDI).trunc(32), bytes, access),
    advance: (register) => {
      // +bytes, or -bytes with DF (bit 10).
      const delta = x.const(32, bytes).sub(
        x
          .get32('rflags')
          .shrU(10)
          .and(1)
          .mul(2 * bytes),
      );
      const value: Val<IntWidth> = addressSize === 64 ? delta.sext(64) : delta;
      x.setGpr(
        addressSize,
        register,
        (addressSize === 16
          ? x
              .gpr(16, register)
              .as(32)
              .add(value as Val<32>)
              .trunc(16)
          : (x.gpr(addressSize, register) as Val<64>).add(value as Val<64>)) as Val<IntWidth>,
      );
    },
  };
}

/** Moves rSI or rDI by a number of bytes. */
export function move(x: Context, register: number, length: Val<32>): void {
  const { addressSize } = x.facts;
  const moved = x.gpr(addressSize, register).zext(64).add(length.zext(64));
  x.setGpr(addressSize, register, moved.trunc(addressSize) as Val<IntWidth>);
}
