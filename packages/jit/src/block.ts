import { type Handlers, Link, Record, Slot } from '@nestvm/cpu/compiling';
import type { Facts } from '@nestvm/semantics';
import type { ArenaViews } from './arena-views.js';
import { isCompilable } from './compilable.js';

/** One instruction of a block: its record, and what is known about it. */
export interface Step {
  readonly record: number;
  readonly facts: Facts;
}

/** Where a direct jump, or the end of a block, leads. */
export interface Edge {
  /** Offset of the target from the start of the region's page. */
  readonly target: number;
  /** Byte offset of the link in the record that leaves. */
  readonly link: number;
  /** False when the target is on another page. */
  readonly isInside: boolean;
}

/**
 * How control leaves a block: through the instructions' own emitter, by that of an instruction which may change the mode (then out of the region wherever it leads), by
 * falling through, or to the interpreter.
 */
export type BlockEnd = 'jump' | 'departure' | 'fall-through' | 'interpreter';

/** A decoded block as a compiler sees it. */
export interface Block {
  readonly head: number;
  /** Offset of the first byte from the start of the region's page: of another page it is negative, or too large. */
  readonly offset: number;
  readonly steps: readonly Step[];
  readonly end: BlockEnd;
  /** Record at which control leaves: the last step's, that of the fall-through, or that of the instruction left to the interpreter. */
  readonly last: number;
  /** Instructions of the whole block. */
  readonly count: number;
  readonly taken: Edge | null;
  readonly next: Edge | null;
  /** Offset of where a call that ends the block returns to, or null. */
  readonly returnsTo: number | null;
}

const DEPARTURES: ReadonlySet<string> = new Set(['SYSCALL', 'SYSRET', 'IRET']);
const DIRECT = /^(J|LOOP|CALL$)/;

function edgeOf(views: ArenaViews, record: number, link: number, target: number): Edge {
  return { target, link, isInside: views.i32[(record + link) >>> 2] !== Link.FAR };
}

/** Whether a block is a return and nothing else, as those are that Linux has all functions return through; `head` may be 0. */
export const isLoneReturn = ({ i32 }: ArenaViews, handlers: Handlers, head: number): boolean =>
  head !== 0 && handlers.factsOf(i32[(head + Record.BYTES) >>> 2]!)?.row.mnemonic === 'RET';

/** Whether a block ends in a return. */
export const isReturn = ({ end, steps }: Block): boolean => end === 'jump' && steps[steps.length - 1]!.facts.row.mnemonic === 'RET';

/** Reads a block with a head from its records; null when it has gone stale. `excluded` are rows that turned out not to be compilable. */
export function readBlock(views: ArenaViews, handlers: Handlers, head: number, offset: number, excluded: ReadonlySet<number>): Block | null {
  const { i32, u8, u16 } = views;
  const steps: Step[] = [];
  const finish = (end: BlockEnd, last: number, count: number, taken: Edge | null, next: Edge | null, returnsTo: number | null = null): Block => ({
    head,
    offset,
    steps,
    end,
    last,
    count,
    taken,
    next,
    returnsTo,
  });
  for (let record = head + Record.BYTES; ; record += Record.BYTES) {
    const slot = i32[record >>> 2]!;
    const after = offset + u16[(record + Record.BLOCK_OFFSET) >>> 1]! + u8[record + Record.LENGTH]!;
    const count = u8[record + Record.INDEX]! + 1;
    if (slot === Slot.STALE) return null;
    if (slot === Slot.FALL_THROUGH) return finish('fall-through', record, count, null, edgeOf(views, record, Record.LINK_NEXT, after));
    const facts = handlers.factsOf(slot);
    if (facts === undefined || excluded.has(facts.row.id) || !isCompilable(facts)) return finish('interpreter', record, count, null, null);
    const { row } = facts;
    const isDirect = row.operands[0]?.method === 'J' && DIRECT.test(row.mnemonic);
    if (facts.long && DEPARTURES.has(row.mnemonic)) {
      steps.push({ record, facts });
      return finish('departure', record, count, null, null);
    }
    if (row.endsBlock && !isDirect && !['CALL', 'JMP', 'RET'].includes(row.mnemonic)) return finish('interpreter', record, count, null, null);
    steps.push({ record, facts });
    if (!row.endsBlock) continue;
    const returnsTo = row.mnemonic === 'CALL' ? after : null;
    if (!isDirect) return finish('jump', record, count, null, null, returnsTo);
    const target = offset + i32[(record + Record.TARGET) >>> 2]!;
    const isConditional = row.mnemonic !== 'JMP' && row.mnemonic !== 'CALL';
    const next = isConditional ? edgeOf(views, record, Record.LINK_NEXT, after) : null;
    return finish('jump', record, count, edgeOf(views, record, Record.LINK_TAKEN, target), next, returnsTo);
  }
}
