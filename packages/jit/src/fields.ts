import { Record } from '@nestvm/cpu/compiling';
import type { Code } from '@nestvm/emit';
import type { Fields } from '@nestvm/semantics';
import type { ArenaViews } from './arena-views.js';

/** The fields of a record as constants. */
export function constantFields(code: Code, views: ArenaViews, record: number): Fields {
  const { u8, u16, i32 } = views;
  const half = (offset: number) => () => code.constant(32, u16[(record + offset) >>> 1]!);
  const byte = (offset: number) => () => code.constant(32, u8[record + offset]!);
  const word = (offset: number) => () => code.constant(32, i32[(record + offset) >>> 2]!);
  return {
    reg: half(Record.REG),
    rm: half(Record.RM),
    vvvv: half(Record.VVVV),
    base: half(Record.BASE),
    index: half(Record.INDEX_REGISTER),
    scale: byte(Record.SCALE),
    displacement: word(Record.DISPLACEMENT),
    segment: byte(Record.SEGMENT),
    immediate: () =>
      code.constant(64, (BigInt(i32[(record + Record.IMMEDIATE + 4) >>> 2]!) << 32n) | BigInt(i32[(record + Record.IMMEDIATE) >>> 2]! >>> 0)),
    immediate32: word(Record.IMMEDIATE),
    blockOffset: half(Record.BLOCK_OFFSET),
    length: byte(Record.LENGTH),
    targetOffset: word(Record.TARGET),
  };
}
