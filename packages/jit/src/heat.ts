import { type Handlers, HEAD_LENGTH, Link, Record, Slot } from '@nestvm/cpu/compiling';
import type { ArenaViews } from './arena-views.js';

/** Blocks that are looked at more closely together at most. */
const MOST_BLOCKS = 64;
const PAGE_BYTES = 4096;
const LINKS = [Record.LINK_TAKEN, Record.LINK_NEXT] as const;
const NEXT = [Record.LINK_NEXT] as const;

/** A record, if it is a head; or 0. */
export const headAt = ({ u8 }: ArenaViews, record: number): number => (record !== 0 && u8[record + Record.LENGTH] === HEAD_LENGTH ? record : 0);

/** Head of the block that a link leads to, past its head or not; 0 when it leads nowhere yet, or to a block without a head. */
export function headOfLink(views: ArenaViews, link: number): number {
  if (link <= Link.FAR) return 0;
  return headAt(views, link) || headAt(views, link - Record.BYTES);
}

/** Turns that the head of a block has counted, since it was opened if it was. */
export const turnsOf = (views: ArenaViews, head: number): number =>
  views.i32[(head + Record.START) >>> 2]! - views.i32[(head + Record.COUNTDOWN) >>> 2]!;

/** Has the turns of a block counted, `turns` of them until it is reported. */
export function countTurns(views: ArenaViews, head: number, turns: number): void {
  views.i32[head >>> 2] = Slot.HEAD;
  views.i32[(head + Record.COUNTDOWN) >>> 2] = views.i32[(head + Record.START) >>> 2] = turns;
}

/** Has a block that was reported counted on, `turns` more until it is the next time. */
export function grantTurns({ i32 }: ArenaViews, head: number, turns: number): void {
  i32[(head + Record.START) >>> 2]! += turns;
  i32[(head + Record.COUNTDOWN) >>> 2]! += turns;
}

/** Has a block that counts on be reported at its next turn. */
export function cutTurns({ i32 }: ArenaViews, head: number): void {
  const left = i32[(head + Record.COUNTDOWN) >>> 2]! - 1;
  if (left <= 0) return;
  i32[(head + Record.START) >>> 2]! -= left;
  i32[(head + Record.COUNTDOWN) >>> 2]! -= left;
}

/** Whether the jumps of a block lead to heads. */
export const isOpen = (views: ArenaViews, head: number): boolean => views.u8[head + Record.OPEN] !== 0;

/** Has the jumps of a block lead to heads, so that the turns of where they go are counted; gives those heads. */
export function openBlock(views: ArenaViews, handlers: Handlers, head: number): number[] {
  const { i32, u8, u16 } = views;
  u8[head + Record.OPEN] = 1;
  const last = head + u16[(head + Record.RECORDS) >>> 1]! * Record.BYTES;
  const slot = i32[last >>> 2]!;
  const isJump = handlers.factsOf(slot)?.row.operands[0]?.method === 'J';
  const heads: number[] = [];
  for (const field of isJump ? LINKS : slot === Slot.FALL_THROUGH ? NEXT : []) {
    const target = headOfLink(views, i32[(last + field) >>> 2]!);
    if (target === 0) continue;
    i32[(last + field) >>> 2] = target;
    heads.push(target);
  }
  return heads;
}

/** Arena offset of where the call that ends a block returns to; -1 when none does, or to another page. */
function returnOf({ i32, u8, u16 }: ArenaViews, handlers: Handlers, head: number): number {
  const last = head + u16[(head + Record.RECORDS) >>> 1]! * Record.BYTES;
  if (handlers.factsOf(i32[last >>> 2]!)?.row.mnemonic !== 'CALL') return -1;
  const host = i32[(head + Record.HOST) >>> 2]! >>> 0;
  const after = host + u16[(last + Record.BLOCK_OFFSET) >>> 1]! + u8[last + Record.LENGTH]!;
  return after % PAGE_BYTES > host % PAGE_BYTES ? after : -1;
}

/**
 * Opens a block and what it leads to, and begins to count anew: before a region is chosen it is seen for some turns what is worth having in it. `find` gives the head of the block at
 * an arena offset, or 0.
 */
export function openFrom(views: ArenaViews, handlers: Handlers, first: number, find: (arenaOffset: number) => number): void {
  const queue = [first];
  for (let i = 0; i < queue.length && i < MOST_BLOCKS; i++) {
    const head = queue[i]!;
    if (isOpen(views, head)) continue;
    views.i32[(head + Record.START) >>> 2] = views.i32[(head + Record.COUNTDOWN) >>> 2]!;
    queue.push(...openBlock(views, handlers, head));
    const after = returnOf(views, handlers, head);
    const back = after < 0 ? 0 : headOfLink(views, find(after));
    if (back !== 0) queue.push(back);
  }
}
