import { type Code, defineFunction, type FunctionDefinition, type FunctionRef, importedFunction, type Val } from '@nestvm/emit';
import { Mode, Segment, vcpuState } from '@nestvm/isa';
import { TlbEntry, TlbTable } from '@nestvm/mmu';
import { codeAddress, countTurn, enterKnown, goTo, HANDLER, leave, lookUpCode } from './entering.js';
import { secondEntry, walks } from './page-walk.js';
import { ExitReason, Record } from './record.js';
import { promote } from './slow-paths.js';

const I = 'i32' as const;
const L = 'i64' as const;
const at = vcpuState.offset;

const hostSystem: FunctionRef = importedFunction('hostSystem', { params: [I, I], results: [I] });
/** Puts the time-stamp counter into `scratch`. */
const hostTime: FunctionRef = importedFunction('hostTime', { params: [I, I], results: [] });

/** The time-stamp counter at the instruction of a record, of a block that began with this budget: (record, cpu, budget). */
export const readTime = defineFunction('readTime', { params: [I, I, I], results: [L] }, (c) => {
  const [record, cpu, budget] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  const here = budget.sub(c.load('i32.load8_u', 32, record, Record.INDEX));
  const passed = c.load('i32.load', 32, cpu, at.timeBudget).sub(here);
  c.if(passed.ltU(c.load('i32.load', 32, cpu, at.timeSpan)), () => {
    const ticks = passed.zext(64).mul(c.load('i64.load32_u', 64, cpu, at.timeRate));
    c.return(c.load('i64.load', 64, cpu, at.timeBase).add(ticks));
  });
  c.store('i32.store', cpu, budget, at.budget);
  c.run(hostTime, record, cpu);
  c.return(c.load('i64.load', 64, cpu, at.scratch));
});

const hostMiss: FunctionRef = importedFunction('hostMiss', { params: [I], results: [I] });
const hostLink: FunctionRef = importedFunction('hostLink', { params: [I], results: [I] });

/** Records a fault of a record's instruction, for who leaves with it. */
export function noteFault(c: Code, cpu: Val<32>, record: Val<32>, vector: number, error: Val<32> | null): void {
  c.store('i32.store', cpu, c.constant(32, vector), at.faultVector);
  c.store('i32.store', cpu, error ?? c.constant(32, 0), at.faultError);
  c.store('i32.store', cpu, c.constant(32, error ? 1 : 0), at.faultHasError);
  c.store('i32.store', cpu, record, at.exitRecord);
  c.store('i32.store', cpu, c.constant(32, ExitReason.FAULT), at.exitReason);
}

/** Takes a retired run of instructions, up to the record `from` bytes behind another, off the budget; gives what is left. */
export function charge(c: Code, cpu: Val<32>, record: Val<32>, extra: number, from = 0): Val<32> {
  const left = c.load('i32.load', 32, cpu, at.budget).sub(c.load('i32.load8_u', 32, record, from + Record.INDEX).add(extra));
  c.store('i32.store', cpu, left, at.budget);
  return left;
}

/**
 * Goes on at RIP (already in the state): translates it through the exec TLB, looks in the block cache, and leaves with MISS when either
 * does not know it. The budget is checked here, so that every path that may loop passes a check.
 */
export const dispatchFunction = (name: string, blockCache: number, isFar: boolean): FunctionDefinition =>
  defineFunction(name, HANDLER, (c) => {
    const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
    c.if(c.load('i32.load', 32, cpu, at.budget).ltS(0), () => leave(c, cpu, record, ExitReason.BUDGET));
    const rip = c.load('i64.load', 64, cpu, at.rip);
    const mode = c.load('i32.load', 32, cpu, at.mode);
    const linear = codeAddress(c, cpu, rip, mode);
    const code = lookUpCode(c, cpu, linear);
    c.if(code.hit, () => enterKnown(c, { record, cpu, rip, blockCache, isFar }, code.host(), mode, true));
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

const dispatchRef: FunctionRef = { name: 'dispatch', signature: HANDLER };
const dispatchFarRef: FunctionRef = { name: 'dispatchFar', signature: HANDLER };

/** What compiled code leaves through: see `dispatch`, and {@link goToRecord}. */
export const dispatchTargets = { near: dispatchRef, far: dispatchFarRef } as const;

/** Ends a block at RIP = target, charged already. */
export function goToRip(c: Code, record: Val<32>, cpu: Val<32>, target: Val<64>): void {
  c.store('i64.store', cpu, target, at.rip);
  c.tailCall(dispatchRef, record, cpu);
}

/** A direct jump whose link is not a record: has it linked and goes on there, or leaves for that; or looks a far target up. (record, cpu, link, reason) */
export const jumpSlow = defineFunction('jumpSlow', { params: [I, I, I, I], results: [] }, (c) => {
  const [record, cpu, link, reason] = [c.param(0, 32), c.param(1, 32), c.param(2, 32), c.param(3, 32)];
  c.if(link.or(c.load('i32.load', 32, cpu, at.budget).shrU(31)).isZero(), () => {
    c.store('i32.store', cpu, record, at.exitRecord);
    c.store('i32.store', cpu, reason, at.exitReason);
    const found = c.call(hostLink, 32, cpu);
    c.if(found, () => goTo(c, found, cpu));
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
export const enter = defineFunction('enter', { params: [I], results: [] }, (c) => {
  c.run(dispatchRef, c.constant(32, 0), c.param(0, 32));
});

/** Starts the engine at a record whose block's RIP is set: (record, cpu). */
export const enterAt = defineFunction('enterAt', HANDLER, (c) => {
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

/** Goes on at the block that has taken another's place. */
export const moved = defineFunction('moved', HANDLER, (c) => {
  const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
  goTo(c, c.load('i32.load', 32, record, Record.IMMEDIATE), cpu);
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
