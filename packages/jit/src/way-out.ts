import { dispatchTargets, ExitReason, enterHead, enterIfKnown, goTo, ifLocated, jumpSlow, Link, Record } from '@nestvm/cpu/compiling';
import { type Code, defineFunction, type FunctionDefinition, type Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { ExitLog } from './exit-log.js';
import { flagAux } from './lasting-flags.js';
import type { ReturnCache } from './return-cache.js';

const at = vcpuState.offset;
const PAGE_BYTES = 4096;
const PAGE_MASK = ~0xfffn;

/** How a region is left: in the lowest two bits of the address of a record, or of a link, which are zero; and, for records, in the one above. */
export const Leave = {
  /** At a record, where the interpreter goes on. */
  RECORD: 0,
  /** The same at an instruction that the region cannot carry out, which is remembered. */
  GIVEN_UP: 1,
  /** By the indirect jump of a record, to RIP; or by a return, from a function or to a program or its system. */
  JUMP: 2,
  RETURN: 2 | 4,
  /** By a link, to RIP where it leads nowhere yet. */
  LINK: 3,
} as const;

/** Added to a goal on another page. */
const IS_FAR = 1;

/**
 * What is handed over in place of the page where 64-bit code leaves by a link: the head of the block that the link led to when the region was compiled, and that of the block
 * on the region's own page which the function that is called returns to; 0 where it is not known. What compiled code has in itself need not be fetched from records that it does
 * not touch otherwise, and that the host's caches have lost meanwhile.
 */
export const goalOf = (head: number, isFar: boolean, returnHead: number): bigint =>
  (BigInt(returnHead) << 32n) | BigInt(head === 0 ? 0 : head + (isFar ? IS_FAR : 0));

/** In place of a kind of flags: the region has neither read nor written them. */
export const NO_FLAGS = -1;

/**
 * The end of all regions: (record or link with how it is left, vCPU, RIP as the distance from the region's page, distance of the page that is left from there or a goal, head that the
 * region was entered at, kind of the flags, and what they are made from). All other state is in its place; the vCPU has RIP of the entry still.
 */
export function defineWayOut(exitLog: ExitLog, returns: ReturnCache, blockCache: number, isLong: boolean): FunctionDefinition {
  const signature = { params: ['i32', 'i32', 'i64', 'i64', 'i32', 'i32', 'i64', 'i64'], results: [] } as const;
  return defineFunction(isLong ? 'leaveRegion64' : 'leaveRegion32', signature, (code) =>
    new WayOut(code, exitLog, returns, blockCache, isLong).write(),
  );
}

class WayOut {
  private readonly cpu: Val<32>;
  private readonly entered: Val<32>;
  /** Start of the page that is left. */
  private readonly page: Val<64>;
  private readonly how: Val<32>;
  private readonly place: Val<32>;

  constructor(
    private readonly code: Code,
    private readonly exitLog: ExitLog,
    private readonly returns: ReturnCache,
    private readonly blockCache: number,
    private readonly isLong: boolean,
  ) {
    this.cpu = code.param(1, 32);
    this.entered = code.param(4, 32);
    this.page = this.start().add(code.param(3, 64));
    this.how = code.param(0, 32).and(3);
    this.place = code.param(0, 32).and(-4);
  }

  /** Start of the region's page. */
  private start(): Val<64> {
    return this.code.load('i64.load', 64, this.cpu, at.blockRip).and(PAGE_MASK);
  }

  write(): void {
    const { code, how } = this;
    this.keepFlags();
    code.if(how.eq(Leave.LINK), () => this.byLink());
    code.if(how.eq(Leave.JUMP), () => this.byJump());
    this.atRecord();
  }

  private keepFlags(): void {
    const { code, cpu } = this;
    const kind = code.param(5, 32);
    code.if(kind.geS(0), () => {
      const result = code.load('i64.load', 64, cpu, at.flagResult);
      code.store('i32.store', cpu, code.call(flagAux, 32, kind, result, code.param(6, 64), code.param(7, 64)), at.flagAux);
    });
  }

  private atRecord(): void {
    const { code, cpu, how, place } = this;
    code.if(how, () => this.exitLog.writeGivenUp(code, place, this.entered));
    // The block's RIP by its head, which is before its first record.
    const head = place.sub(code.load('i32.load8_u', 32, place, Record.INDEX).shl(5)).sub(Record.BYTES);
    const offset = code.load('i32.load', 32, head, Record.HOST).and(PAGE_BYTES - 1);
    code.store('i64.store', cpu, this.page.add(offset.zext(64)), at.blockRip);
    goTo(code, place, cpu);
  }

  /** To where the TLB and the block cache lead, if they know it; else `dispatch` finds the way. */
  private byJump(): void {
    const { code, cpu, exitLog, entered } = this;
    const record = code.param(0, 32).and(-8);
    const isReturn = code.param(0, 32).and(Leave.RETURN & ~Leave.JUMP);
    const rip = this.start().add(code.param(2, 64));
    const log = (host: Val<32>): void =>
      exitLog.sampled(code, cpu, () => exitLog.writeJump(code, { record, host, delta: rip.sub(this.page), isReturn, entered }));
    const located = (host: Val<32>): void => {
      if (this.isLong) code.if(isReturn, () => this.returns.writeEnter(code, cpu, rip, host, () => log(host)));
    };
    enterIfKnown(code, this.isLong, { record, cpu, rip, blockCache: this.blockCache, isFar: false, noted: log, located });
    code.store('i64.store', cpu, rip, at.rip);
    code.tailCall(dispatchTargets.near, record, cpu);
  }

  /** To where the link led when the region was compiled, if that still is so. */
  private byGoal(rip: Val<64>): void {
    const { code, cpu, place, exitLog, entered } = this;
    const known = code.param(3, 64);
    const [goal, returnHead] = [known.trunc(32), known.shrU(32).trunc(32)];
    code.if(returnHead, () => {
      const offset = code.load('i32.load', 32, returnHead, Record.HOST).and(PAGE_BYTES - 1);
      this.returns.writeRemember(code, cpu, this.start().add(offset.zext(64)), returnHead);
    });
    const head = goal.and(~IS_FAR);
    code.if(goal.and(IS_FAR), () =>
      ifLocated(code, cpu, rip, (host) =>
        enterHead(code, cpu, { head, rip, host }, () => exitLog.sampled(code, cpu, () => exitLog.writeFar(code, place, entered))),
      ),
    );
    code.if(goal.and(IS_FAR).isZero().and(goal.ne(0)), () =>
      enterHead(code, cpu, { head, rip, host: null }, () => exitLog.sampled(code, cpu, () => exitLog.writeLink(code, place, entered))),
    );
  }

  private byLink(): void {
    const { code, cpu, place } = this;
    const next = this.start().add(code.param(2, 64));
    // Outside of 64-bit code RIP wraps behind the last page.
    const rip = this.isLong ? next : next.and(0xffffffffn);
    if (this.isLong) this.byGoal(rip);
    const link = code.load('i32.load', 32, place);
    code.if(link.gtU(Link.FAR), () => {
      this.exitLog.sampled(code, cpu, () => this.exitLog.writeLink(code, place, this.entered));
      code.store('i64.store', cpu, rip, at.blockRip);
      goTo(code, link, cpu);
    });
    const record = place.and(-Record.BYTES);
    code.if(link, () => {
      this.exitLog.sampled(code, cpu, () => this.exitLog.writeFar(code, place, this.entered));
      enterIfKnown(code, this.isLong, { record, cpu, rip, blockCache: this.blockCache, isFar: true });
    });
    code.store('i64.store', cpu, rip, at.rip);
    const isNext = place.and(Record.BYTES - 1).eq(Record.LINK_NEXT);
    const reason = code.select(isNext, code.constant(32, ExitReason.LINK_NEXT), code.constant(32, ExitReason.LINK_TAKEN));
    code.tailCall(jumpSlow, record, cpu, link, reason);
  }
}
