import { type Code, defineFunction, type FunctionDefinition, type FunctionRef, importedFunction, type Val } from '@nestvm/emit';
import { Mode, Segment, vcpuState } from '@nestvm/isa';
import { TlbEntry, TlbTable } from '@nestvm/mmu';
import { secondEntry, walks } from './page-walk.js';
import { switchBank } from './privilege.js';
import { ExitReason, Record, Slot } from './record.js';
import { promote, refill, slowModify, slowProbe, slowRead, slowWrite } from './slow-paths.js';

const I = 'i32' as const;
const L = 'i64' as const;
const at = vcpuState.offset;

/** Every handler: (record, cpu). */
export const HANDLER = { params: [I, I], results: [] } as const;

/** log2 of the entries of the block cache; an entry is 16 bytes: host address, mode, record, unused. */
const BLOCK_CACHE_BITS = 17;
export const BLOCK_CACHE_BYTES = 16 << BLOCK_CACHE_BITS;

/** Slot of a block in the block cache, as a byte offset. */
export const blockCacheOffset = (host: number): number => ((host ^ (host >>> 13)) & ((1 << BLOCK_CACHE_BITS) - 1)) << 4;

const hostSystem: FunctionRef = importedFunction('hostSystem', { params: [I, I], results: [I] });
/** Puts the time-stamp counter into `scratch`. */
export const hostTime: FunctionRef = importedFunction('hostTime', { params: [I, I], results: [] });
const hostMiss: FunctionRef = importedFunction('hostMiss', { params: [I], results: [I] });

/** Leaves the engine. */
export function leave(c: Code, cpu: Val<32>, record: Val<32>, reason: number): void {
  c.store('i32.store', cpu, record, at.exitRecord);
  c.store('i32.store', cpu, c.constant(32, reason), at.exitReason);
  c.return();
}

/** Records a fault and leaves. */
export function leaveWithFault(c: Code, cpu: Val<32>, record: Val<32>, vector: Val<32> | number, error: Val<32> | null): void {
  c.store('i32.store', cpu, typeof vector === 'number' ? c.constant(32, vector) : vector, at.faultVector);
  c.store('i32.store', cpu, error ?? c.constant(32, 0), at.faultError);
  c.store('i32.store', cpu, c.constant(32, error ? 1 : 0), at.faultHasError);
  leave(c, cpu, record, ExitReason.FAULT);
}

/** Goes to a record. */
export function goTo(c: Code, record: Val<32>, cpu: Val<32>): void {
  c.tailCallIndirect(HANDLER, c.load('i32.load', 32, record, Record.HANDLER), record, cpu);
}

/** Takes a retired run of instructions, up to the record `from` bytes behind another, off the budget; gives what is left. */
export function charge(c: Code, cpu: Val<32>, record: Val<32>, extra: number, from = 0): Val<32> {
  const left = c.load('i32.load', 32, cpu, at.budget).sub(c.load('i32.load8_u', 32, record, from + Record.INDEX).add(extra));
  c.store('i32.store', cpu, left, at.budget);
  return left;
}

/** Linear address of an offset in the code segment: the offset itself in 64-bit code. */
function codeAddress(c: Code, cpu: Val<32>, rip: Val<64>, mode: Val<32>): Val<64> {
  return c.choose(
    mode.and(Mode.LONG),
    64,
    () => rip,
    () => rip.add(c.load('i64.load', 64, cpu, at.segBase + 8 * Segment.CS)).and(0xffffffffn),
  );
}

/** What the exec TLB knows about the page of an address: whether it has it, and then the address's place in linear memory. */
function lookUpCode(c: Code, cpu: Val<32>, linear: Val<64>): { readonly hit: Val<32>; readonly host: () => Val<32> } {
  const low = linear.trunc(32);
  const entry = c.load('i32.load', 32, cpu, at.tlbExec).add(low.shrU(8).and(1023 << 4));
  return { hit: c.load('i64.load', 64, entry, 0).eq(linear.and(~0xfffn)), host: () => low.add(c.load('i32.load', 32, entry, 8)) };
}

/**
 * Goes on at RIP (already in the state): translates it through the exec TLB, looks in the block cache, and leaves with MISS when either
 * does not know it. The budget is checked here, so that every path that may loop passes a check. A direct jump (`isFar`) remembers in its record
 * where it led, and asks there before it asks the block cache.
 */
const dispatchFunction = (name: string, blockCache: number, isFar: boolean): FunctionDefinition =>
  defineFunction(name, HANDLER, (c) => {
    const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
    c.if(c.load('i32.load', 32, cpu, at.budget).ltS(0), () => leave(c, cpu, record, ExitReason.BUDGET));
    const rip = c.load('i64.load', 64, cpu, at.rip);
    const mode = c.load('i32.load', 32, cpu, at.mode);
    const linear = codeAddress(c, cpu, rip, mode);
    const code = lookUpCode(c, cpu, linear);
    c.if(code.hit, () => {
      const host = code.host();
      if (isFar) followFar(c, cpu, record, host, rip);
      const slot = host
        .xor(host.shrU(13))
        .and((1 << BLOCK_CACHE_BITS) - 1)
        .shl(4);
      c.if(
        c
          .load('i32.load', 32, slot, blockCache)
          .eq(host)
          .and(c.load('i32.load', 32, slot, blockCache + 4).eq(mode)),
        () => {
          const target = c.load('i32.load', 32, slot, blockCache + 8);
          if (isFar) {
            c.store('i32.store', record, host, Record.FAR_HOST);
            c.store('i32.store', record, target, Record.FAR_RECORD);
          }
          c.store('i64.store', cpu, rip, at.blockRip);
          enterBlock(c, target, c.load('i32.load', 32, target, Record.HANDLER), cpu);
        },
      );
    });
    c.if(code.hit.isZero(), () => {
      const first = c.load('i32.load', 32, cpu, at.tlbExec);
      const second = secondEntry(TlbTable.EXEC, first, linear.trunc(32));
      c.if(c.load('i64.load', 64, second, TlbEntry.TAG).eq(linear.and(~0xfffn)), () => {
        promote(c, first, linear.trunc(32), second);
        c.tailCall(dispatchRef, record, cpu);
      });
      c.if(c.call(walks.EXEC, 32, cpu, linear), () => c.tailCall(dispatchRef, record, cpu));
    });
    const found = c.call(hostMiss, 32, cpu);
    c.if(found, () => goTo(c, found, cpu));
  });

/** Goes to the block where a jump led last, if it leads there again and the block is still good. A block's mode is that of the block that jumps to it. */
function followFar(c: Code, cpu: Val<32>, record: Val<32>, host: Val<32>, rip: Val<64>): void {
  c.if(c.load('i32.load', 32, record, Record.FAR_HOST).eq(host), () => {
    const target = c.load('i32.load', 32, record, Record.FAR_RECORD);
    const slot = c.load('i32.load', 32, target, Record.HANDLER);
    c.if(slot.ne(Slot.STALE), () => {
      c.store('i64.store', cpu, rip, at.blockRip);
      enterBlock(c, target, slot, cpu);
    });
  });
}

/** Goes to a block by the slot in its first record: what a head does is done here, which saves a way through the table. */
function enterBlock(c: Code, record: Val<32>, slot: Val<32>, cpu: Val<32>): void {
  c.if(slot.eq(Slot.HEAD), () => countTurn(c, record, cpu));
  c.tailCallIndirect(HANDLER, slot, record, cpu);
}

/** Counts a turn of a block down, and reports the block at zero, else goes on with it. */
function countTurn(c: Code, record: Val<32>, cpu: Val<32>): void {
  const left = c.load('i32.load', 32, record, Record.COUNTDOWN).sub(1);
  c.store('i32.store', record, left, Record.COUNTDOWN);
  c.if(left.isZero(), () => leave(c, cpu, record, ExitReason.HOT));
  goTo(c, record.add(Record.BYTES), cpu);
}

const dispatchRef: FunctionRef = { name: 'dispatch', signature: HANDLER };
const dispatchFarRef: FunctionRef = { name: 'dispatchFar', signature: HANDLER };

/** What compiled code leaves through: see `dispatch`, and {@link goToRecord}. */
export const dispatchTargets = { near: dispatchRef, far: dispatchFarRef } as const;

/** Ends a block at RIP = target, charged already. */
export function goToRip(c: Code, record: Val<32>, cpu: Val<32>, target: Val<64>): void {
  c.store('i64.store', cpu, target, at.rip);
  c.tailCall(dispatchRef, record, cpu);
}

/** A direct jump whose link is not a record: leaves to have it linked, or looks a far target up. (record, cpu, link, reason) */
export const jumpSlow = defineFunction('jumpSlow', { params: [I, I, I, I], results: [] }, (c) => {
  const [record, cpu, link, reason] = [c.param(0, 32), c.param(1, 32), c.param(2, 32), c.param(3, 32)];
  c.if(link.or(c.load('i32.load', 32, cpu, at.budget).shrU(31)).isZero(), () => {
    c.store('i32.store', cpu, record, at.exitRecord);
    c.store('i32.store', cpu, reason, at.exitReason);
    c.return();
  });
  c.tailCall(dispatchFarRef, record, cpu);
});

/** Carries a record's instruction out in TypeScript, and goes on at RIP unless the loop is needed first. */
export const systemHere = defineFunction('systemHere', HANDLER, (c) => {
  const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
  c.if(c.call(hostSystem, 32, record, cpu), () => c.tailCall(dispatchRef, record, cpu));
});

/** The handler of records that are TypeScript's. */
export const system = defineFunction('system', HANDLER, (c) => c.tailCall(systemHere, c.param(0, 32), c.param(1, 32)));

/** Goes on at a record, whose block's RIP is set: for code without the table. */
export const goToRecord = defineFunction('goToRecord', HANDLER, (c) => goTo(c, c.param(0, 32), c.param(1, 32)));

/** Counts a turn of a block down, and reports the block at zero. */
export const head = defineFunction('head', HANDLER, (c) => {
  countTurn(c, c.param(0, 32), c.param(1, 32));
});

/** Goes on with the next record. */
export const pass = defineFunction('pass', HANDLER, (c) => goTo(c, c.param(0, 32).add(Record.BYTES), c.param(1, 32)));

/** Starts the engine at RIP: (cpu). */
const enter = defineFunction('enter', { params: [I], results: [] }, (c) => {
  c.run(dispatchRef, c.constant(32, 0), c.param(0, 32));
});

/** Starts the engine at a record whose block's RIP is set: (record, cpu). */
const enterAt = defineFunction('enterAt', HANDLER, (c) => {
  const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
  c.callIndirect(HANDLER, c.load('i32.load', 32, record, Record.HANDLER), record, cpu);
});

const TYPE_WRITABLE = 2;
const TYPE_EXPAND_DOWN = 4;
const TYPE_CODE = 8;
const UNUSABLE = 1 << 16;
const DEFAULT_BIG = 1 << 14;

/**
 * Segment checks of legacy modes (SDM Vol. 3, "Limit Checking" and "Type Checking"): (record, cpu, segment, offset, bytes, write) → linear address, or -1 after #GP or #SS.
 */
export const checkSegment = defineFunction('checkSegment', { params: [I, I, I, I, I, I], results: [L] }, (c) => {
  const [record, cpu, segment, offset, bytes, write] = [0, 1, 2, 3, 4, 5].map((i) => c.param(i, 32)) as [
    Val<32>,
    Val<32>,
    Val<32>,
    Val<32>,
    Val<32>,
    Val<32>,
  ];
  const entry = cpu.add(segment.shl(2));
  const rights = c.load('i32.load', 32, entry, at.segAttributes);
  const limit = c.load('i32.load', 32, entry, at.segLimit);
  const isCode = rights.and(TYPE_CODE);
  const last = offset.add(bytes).sub(1);
  const wraps = last.ltU(offset);
  const expandDown = rights.and(TYPE_EXPAND_DOWN | TYPE_CODE).eq(TYPE_EXPAND_DOWN);
  const top = c.select(rights.and(DEFAULT_BIG), c.constant(32, -1), c.constant(32, 0xffff));
  const outside = c.select(expandDown, offset.leU(limit).or(last.gtU(top)), last.gtU(limit)).or(wraps);
  const readable = isCode.isZero().or(rights.and(TYPE_WRITABLE).isNonzero());
  const writable = rights.and(TYPE_CODE | TYPE_WRITABLE).eq(TYPE_WRITABLE);
  // Real mode has no types: a CS that came from protected mode can be written there.
  const hasTypes = c.load('i32.load', 32, cpu, at.mode).and(Mode.PROTECTED).isNonzero();
  const denied = c.select(write, writable, readable).isZero().and(hasTypes);
  const bad = rights.and(UNUSABLE).or(outside).or(denied);
  c.if(bad, () => {
    c.store('i32.store', cpu, c.select(segment.eq(Segment.SS), c.constant(32, 12), c.constant(32, 13)), at.faultVector);
    c.store('i32.store', cpu, c.constant(32, 0), at.faultError);
    c.store('i32.store', cpu, c.constant(32, 1), at.faultHasError);
    c.store('i32.store', cpu, record, at.exitRecord);
    c.store('i32.store', cpu, c.constant(32, ExitReason.FAULT), at.exitReason);
    c.return(c.constant(64, -1));
  });
  const base = c.load('i64.load', 64, cpu.add(segment.shl(3)), at.segBase);
  c.return(base.add(offset.zext(64)).and(0xffffffffn));
});

/** Leaves with a reason: the handlers of the fixed slots. */
export const leaving = (name: string, reason: number): FunctionDefinition =>
  defineFunction(name, HANDLER, (c) => leave(c, c.param(1, 32), c.param(0, 32), reason));

/** The second page of a crossing instruction is checked: its host page is in IMMEDIATE. Then the next record. */
export const crossing = defineFunction('crossing', HANDLER, (c) => {
  const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
  const rip = c.load('i64.load', 64, cpu, at.blockRip);
  const linear = codeAddress(c, cpu, rip, c.load('i32.load', 32, cpu, at.mode));
  const next = linear.or(0xfffn).add(1);
  const second = lookUpCode(c, cpu, next);
  const expected = c.load('i32.load', 32, record, Record.IMMEDIATE);
  c.if(second.hit.and(second.host().eq(expected)), () => goTo(c, record.add(Record.BYTES), cpu));
  c.if(second.hit.isZero(), () => {
    c.if(c.call(walks.EXEC, 32, cpu, next).eq(expected), () => goTo(c, record.add(Record.BYTES), cpu));
  });
  c.store('i64.store', cpu, rip, at.rip);
  leave(c, cpu, record, ExitReason.MISS);
});

/** The head of a block in a segment that may end: it was decoded under one limit, and CS may have another now. Then the next record. */
export const limit = defineFunction('limit', HANDLER, (c) => {
  const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
  const rip = c.load('i64.load', 64, cpu, at.blockRip);
  const last = rip.and(0xffffffffn).add(c.load('i64.load32_u', 64, record, Record.IMMEDIATE));
  const end = c.load('i64.load32_u', 64, cpu, at.segLimit + 4 * Segment.CS);
  c.if(last.leU(end), () => goTo(c, record.add(Record.BYTES), cpu));
  c.store('i64.store', cpu, rip, at.rip);
  leave(c, cpu, record, ExitReason.MISS);
});

/** The functions that handler modules share; the runtime module exports them. */
export const runtimeFunctions = (blockCache: number): FunctionDefinition[] => [
  dispatchFunction('dispatch', blockCache, false),
  dispatchFunction('dispatchFar', blockCache, true),
  jumpSlow,
  systemHere,
  goToRecord,
  enter,
  enterAt,
  checkSegment,
  switchBank,
  slowRead,
  slowWrite,
  slowModify,
  slowProbe,
  refill.tlbRead,
  refill.tlbWrite,
];
