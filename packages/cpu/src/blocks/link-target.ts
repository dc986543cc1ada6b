import type { Handlers } from '../interpreter/handlers.js';
import { Record, Slot } from '../interpreter/record.js';
import type { HotCode } from '../ports/hot-code.js';
import type { ArenaViews } from './arena-views.js';

/** What of an engine decides about links. */
interface LinkingEngine {
  readonly arena: ArenaViews;
  readonly handlers: Handlers;
  readonly hotCode: HotCode | null;
}

/** The head of a block by the record that control leaves it at. */
function headOf({ i32, u8 }: ArenaViews, record: number): number {
  const before = u8[record + Record.INDEX]! + (i32[record >>> 2] === Slot.FALL_THROUGH ? 2 : 1);
  return record - before * Record.BYTES;
}

/**
 * What a jump's link is to hold for a block: its head where turns are worth counting, which is at calls, at jumps backward (the heads of loops), and wherever a block that was looked
 * at more closely leads to; else the first instruction, as if there were no head. Functions are also reached through `dispatch`, which knows heads only.
 */
export function linkTo({ arena, handlers, hotCode }: LinkingEngine, target: number, record: number, field: number): number {
  const { i32, u8, u16 } = arena;
  const slot = i32[target >>> 2]!;
  if ((slot !== Slot.HEAD && slot !== Slot.PASS) || hotCode === null) return target;
  if (slot === Slot.PASS) return target + Record.BYTES;
  if (hotCode.countsAll || u8[headOf(arena, record) + Record.OPEN] !== 0) return target;
  if (field === Record.LINK_TAKEN) {
    if (i32[(record + Record.TARGET) >>> 2]! <= u16[(record + Record.BLOCK_OFFSET) >>> 1]!) return target;
    if (handlers.factsOf(i32[record >>> 2]!)?.row.mnemonic === 'CALL') return target;
  }
  return target + Record.BYTES;
}

/** Has a stale block lead to the one that was found in its place: links of blocks that share but one of its two pages still hold it. */
export function leadOn({ i32, u8 }: ArenaViews, record: number, found: number): void {
  if (found === 0 || u8[record + Record.INDEX] !== 0 || i32[record >>> 2] !== Slot.STALE) return;
  i32[record >>> 2] = Slot.MOVED;
  i32[(record + Record.IMMEDIATE) >>> 2] = found;
}
