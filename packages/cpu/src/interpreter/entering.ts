import type { Code, Val } from '@nestvm/emit';
import { Mode, Segment, vcpuState } from '@nestvm/isa';
import { ExitReason, Record, Slot } from './record.js';

const I = 'i32' as const;
const at = vcpuState.offset;

/** Every handler: (record, cpu). */
export const HANDLER = { params: [I, I], results: [] } as const;

/** log2 of the entries of the block cache; an entry is 16 bytes: host address, mode, record, unused. */
const BLOCK_CACHE_BITS = 17;
export const BLOCK_CACHE_BYTES = 16 << BLOCK_CACHE_BITS;

/** A block that another has driven out of its slot of the block cache is in the slot that differs in this bit of its byte offset: not beside it, where the slots of the code around are. */
export const SECOND_PLACE = 0x1_0000;

/** Bytes of code that share a slot: hardly ever do two blocks begin in them, and code that lies together has its slots together, in few lines and pages of the host. */
const SLOT_SHIFT = 2;
/** Code that is so far away, as a power of two, has its slots elsewhere. */
const FAR_SHIFT = 15;

/** Slot of a block in the block cache, as a byte offset. */
export const blockCacheOffset = (host: number): number => (((host >>> SLOT_SHIFT) ^ (host >>> FAR_SHIFT)) & ((1 << BLOCK_CACHE_BITS) - 1)) << 4;

/** Leaves the engine. */
export function leave(c: Code, cpu: Val<32>, record: Val<32>, reason: number): void {
  c.store('i32.store', cpu, record, at.exitRecord);
  c.store('i32.store', cpu, c.constant(32, reason), at.exitReason);
  c.return();
}

/** Goes to a record. */
export function goTo(c: Code, record: Val<32>, cpu: Val<32>): void {
  c.tailCallIndirect(HANDLER, c.load('i32.load', 32, record, Record.HANDLER), record, cpu);
}

/** Linear address of an offset in the code segment: the offset itself in 64-bit code. */
export function codeAddress(c: Code, cpu: Val<32>, rip: Val<64>, mode: Val<32>): Val<64> {
  return c.choose(
    mode.and(Mode.LONG),
    64,
    () => rip,
    () => rip.add(c.load('i64.load', 64, cpu, at.segBase + 8 * Segment.CS)).and(0xffffffffn),
  );
}

/** What the exec TLB knows about the page of an address: whether it has it, and then the address's place in linear memory. */
export function lookUpCode(c: Code, cpu: Val<32>, linear: Val<64>): { readonly hit: Val<32>; readonly host: () => Val<32> } {
  const low = linear.trunc(32);
  const entry = c.load('i32.load', 32, cpu, at.tlbExec).add(low.shrU(8).and(1023 << 4));
  return { hit: c.load('i64.load', 64, entry, 0).eq(linear.and(~0xfffn)), host: () => low.add(c.load('i32.load', 32, entry, 8)) };
}

/** Where a jump leads, and who jumps. */
interface Jump {
  readonly record: Val<32>;
  readonly cpu: Val<32>;
  readonly rip: Val<64>;
  /** Byte offset of the block cache. */
  readonly blockCache: number;
  /** A direct jump to another page: it remembers in its record where it led, and asks there before it asks the block cache. */
  readonly isFar: boolean;
  /** Written where the block is known, with its arena offset. */
  readonly noted?: (host: Val<32>) => void;
  /** Written where the TLB has told the arena offset, before the block cache is asked. */
  readonly located?: (host: Val<32>) => void;
}

/** Goes to the block at a place if the entry of the block cache at `place` (a byte offset in it) has it. */
function enterFrom(c: Code, { record, cpu, rip, blockCache, isFar, noted }: Jump, host: Val<32>, mode: Val<32>, place: Val<32>): void {
  const isKnown = c
    .load('i32.load', 32, place, blockCache)
    .eq(host)
    .and(c.load('i32.load', 32, place, blockCache + 4).eq(mode));
  c.if(isKnown, () => {
    const target = c.load('i32.load', 32, place, blockCache + 8);
    if (isFar) {
      c.store('i32.store', record, host, Record.FAR_HOST);
      c.store('i32.store', record, target, Record.FAR_RECORD);
    }
    noted?.(host);
    c.store('i64.store', cpu, rip, at.blockRip);
    enterBlock(c, target, c.load('i32.load', 32, target, Record.HANDLER), cpu);
  });
}

/** Goes to the block at a place in linear memory if the block cache, or the jump, knows it. `isThorough`: where blocks are that others have driven out is looked, too. */
export function enterKnown(c: Code, jump: Jump, host: Val<32>, mode: Val<32>, isThorough = false): void {
  if (jump.isFar) followFar(c, jump, host);
  const slot = host
    .shrU(SLOT_SHIFT)
    .xor(host.shrU(FAR_SHIFT))
    .and((1 << BLOCK_CACHE_BITS) - 1)
    .shl(4);
  enterFrom(c, jump, host, mode, slot);
  if (isThorough) enterFrom(c, jump, host, mode, slot.xor(SECOND_PLACE));
}

/**
 * What `dispatch` does as far as no call is needed, in place: goes to the block at RIP, which need not be in the state, if the TLB and the block cache have it and the budget
 * lasts. `isLong`: in 64-bit code.
 */
export function enterIfKnown(c: Code, isLong: boolean, jump: Jump): void {
  const { cpu, rip } = jump;
  const mode = c.load('i32.load', 32, cpu, at.mode);
  ifLocated(c, cpu, isLong ? rip : codeAddress(c, cpu, rip, mode), (host) => {
    jump.located?.(host);
    enterKnown(c, jump, host, mode);
  });
}

/** Writes what is done if the TLB knows where a linear address is, with its arena offset, and the budget lasts. */
export function ifLocated(c: Code, cpu: Val<32>, linear: Val<64>, write: (host: Val<32>) => void): void {
  const { hit, host } = lookUpCode(c, cpu, linear);
  c.if(hit.and(c.load('i32.load', 32, cpu, at.budget).geS(0)), () => write(host()));
}

/** Goes to the block where a jump led last, if it leads there again and the block is still good. A block's mode is that of the block that jumps to it. */
function followFar(c: Code, { record, cpu, rip }: Jump, host: Val<32>): void {
  c.if(c.load('i32.load', 32, record, Record.FAR_HOST).eq(host), () => {
    enterHead(c, cpu, { head: c.load('i32.load', 32, record, Record.FAR_RECORD), rip, host: null }, () => undefined);
  });
}

/** Goes to a block by its first record if it is good and, with `host`, which takes a head, is what RIP leads to. `whenKnown` is written where it is entered. */
export function enterHead(
  c: Code,
  cpu: Val<32>,
  target: { readonly head: Val<32>; readonly rip: Val<64>; readonly host: Val<32> | null },
  whenKnown: () => void,
): void {
  const { head, rip, host } = target;
  const slot = c.load('i32.load', 32, head, Record.HANDLER);
  const isGood = slot.ne(Slot.STALE);
  c.if(host === null ? isGood : isGood.and(c.load('i32.load', 32, head, Record.HOST).eq(host)), () => {
    whenKnown();
    c.store('i64.store', cpu, rip, at.blockRip);
    enterBlock(c, head, slot, cpu);
  });
}

/** Goes to a block by the slot in its first record: what a head does is done here, which saves a way through the table. */
function enterBlock(c: Code, record: Val<32>, slot: Val<32>, cpu: Val<32>): void {
  c.if(slot.eq(Slot.HEAD), () => countTurn(c, record, cpu));
  c.tailCallIndirect(HANDLER, slot, record, cpu);
}

/** Counts a turn of a block down, and reports the block at zero, else goes on with it. */
export function countTurn(c: Code, record: Val<32>, cpu: Val<32>): void {
  const left = c.load('i32.load', 32, record, Record.COUNTDOWN).sub(1);
  c.store('i32.store', record, left, Record.COUNTDOWN);
  c.if(left.isZero(), () => leave(c, cpu, record, ExitReason.HOT));
  goTo(c, record.add(Record.BYTES), cpu);
}
