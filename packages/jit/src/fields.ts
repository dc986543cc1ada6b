import { Record } from '@nestvm/cpu/compiling';
import type { Code, Val } from '@nestvm/emit';
import type { Fields } from '@nestvm/semantics';
import type { ArenaViews } from './arena-views.js';

/** The fields of a record as constants. */
export class ConstantFields implements Fields {
  constructor(
    private readonly code: Code,
    private readonly views: ArenaViews,
    private readonly record: number,
  ) {}

  private byte(offset: number): Val<32> {
    return this.code.constant(32, this.views.u8[this.record + offset]!);
  }
  private half(offset: number): Val<32> {
    return this.code.constant(32, this.views.u16[(this.record + offset) >>> 1]!);
  }
  private word(offset: number): Val<32> {
    return this.code.constant(32, this.views.i32[(this.record + offset) >>> 2]!);
  }

  reg(): Val<32> {
    return this.half(Record.REG);
  }
  rm(): Val<32> {
    return this.half(Record.RM);
  }
  vvvv(): Val<32> {
    return this.half(Record.VVVV);
  }
  base(): Val<32> {
    return this.half(Record.BASE);
  }
  index(): Val<32> {
    return this.half(Record.INDEX_REGISTER);
  }
  scale(): Val<32> {
    return this.byte(Record.SCALE);
  }
  displacement(): Val<32> {
    return this.word(Record.DISPLACEMENT);
  }
  segment(): Val<32> {
    return this.byte(Record.SEGMENT);
  }
  immediate(): Val<64> {
    const { i32 } = this.views;
    const at = (this.record + Record.IMMEDIATE) >>> 2;
    const [low, high] = [i32[at]!, i32[at + 1]!];
    return this.code.constant(64, high === low >> 31 ? low : (BigInt(high) << 32n) | BigInt(low >>> 0));
  }
  immediate32(): Val<32> {
    return this.word(Record.IMMEDIATE);
  }
  blockOffset(): Val<32> {
    return this.half(Record.BLOCK_OFFSET);
  }
  length(): Val<32> {
    return this.byte(Record.LENGTH);
  }
  targetOffset(): Val<32> {
    return this.word(Record.TARGET);
  }
}
