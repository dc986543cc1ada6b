import { type Code, type IntWidth, LOAD, STORE, type Val } from '@nestvm/emit';
import { Mode, vcpuState } from '@nestvm/isa';
import type { Context, Engine, Fields, Place } from '@nestvm/semantics';
import { Delivery, deliverPlain, takeFault } from './delivery.js';
import { goTo, HANDLER, leave } from './entering.js';
import { invalidatePage } from './page-faults.js';
import { switchBank } from './privilege.js';
import { ExitReason, REPEAT_COST, Record, Slot } from './record.js';
import { charge, checkSegment, dispatchTargets, goToRip, jumpSlow, noteFault, readTime, systemHere } from './runtime.js';
import { hostCommit, reachOf, slowModify, slowProbe, slowRead, slowWrite } from './slow-paths.js';

const at = vcpuState.offset;
type MemoryWidth = IntWidth | 128;

const INDEX_MASK = 1023 << 4;

/** The fields of the record `from` bytes behind another, loaded where they are used. */
export function recordFields(c: Code, record: Val<32>, from = 0): Fields {
  const u16 = (offset: number): Val<32> => c.load('i32.load16_u', 32, record, from + offset);
  const u8 = (offset: number): Val<32> => c.load('i32.load8_u', 32, record, from + offset);
  const i32 = (offset: number): Val<32> => c.load('i32.load', 32, record, from + offset);
  return {
    reg: () => u16(Record.REG),
    rm: () => u16(Record.RM),
    vvvv: () => u16(Record.VVVV),
    base: () => u16(Record.BASE),
    index: () => u16(Record.INDEX_REGISTER),
    scale: () => u8(Record.SCALE),
    displacement: () => i32(Record.DISPLACEMENT),
    segment: () => u8(Record.SEGMENT),
    immediate: () => c.load('i64.load', 64, record, from + Record.IMMEDIATE),
    immediate32: () => i32(Record.IMMEDIATE),
    blockOffset: () => u16(Record.BLOCK_OFFSET),
    length: () => u8(Record.LENGTH),
    targetOffset: () => i32(Record.TARGET),
  };
}

/** Memory at a host address. */
const placeAt = <W extends MemoryWidth>(code: Code, width: W, address: Val<32>): Place<W> => ({
  read: () => code.load(LOAD[width], width, address),
  write: (value) => code.store(STORE[width], address, value),
});

/** The interpreter's engine: memory through the TLB of the vCPU, flow through records. Functions take (record, cpu). */
export class InterpreterEngine implements Engine {
  private readonly offset: number;
  private readonly alone: number | undefined;

  /** `offset`: where the instruction's record is from the parameter's; `alone`: the slot of the handler that takes over when the TLB does not have the place of an access. */
  constructor(place: { readonly offset?: number; readonly alone?: number } = {}) {
    this.offset = place.offset ?? 0;
    this.alone = place.alone;
  }

  private record(x: Context): Val<32> {
    const record = x.code.param(0, 32);
    return this.offset === 0 ? record : record.add(this.offset);
  }

  /** Field of the record. */
  private field(x: Context, offset: number): Val<32> {
    return x.code.load('i32.load', 32, x.code.param(0, 32), this.offset + offset);
  }

  /** The TLB entry for an address, and whether an access of `bytes` bytes hits it. */
  private look(x: Context, table: 'tlbRead' | 'tlbWrite', linear: Val<64>, bytes: number): { hit: Val<32>; host: () => Val<32> } {
    const { code } = x;
    const low = linear.trunc(32);
    const entry = x.get32(table).add(low.shrU(8).and(INDEX_MASK));
    const hit = code.load('i64.load', 64, entry, 0).eq(linear.add(bytes - 1).and(~0xfffn));
    const aligned = x.facts.aligned && bytes > 1 && bytes <= 8 ? hit.and(low.and(bytes - 1).isZero()) : hit;
    return { hit: aligned, host: () => low.add(code.load('i32.load', 32, entry, 8)) };
  }

  /** Hands the instruction, which has changed nothing yet, to its own handler unless an access hits; true where there is such a handler. */
  private handOver(x: Context, hit: Val<32>): boolean {
    const { code } = x;
    if (this.alone === undefined) return false;
    code.if(hit.isZero(), () => code.tailCallIndirect(HANDLER, code.constant(32, this.alone!), this.record(x), x.cpu));
    return true;
  }

  load<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Val<W> {
    const { code } = x;
    const bytes = width / 8;
    const { hit, host } = this.look(x, 'tlbRead', linear, bytes);
    if (this.handOver(x, hit)) return code.load(LOAD[width], width, host());
    const address = code.choose(hit, 32, host, () => this.slow(x, slowRead, linear, bytes));
    return code.load(LOAD[width], width, address);
  }

  private slow(x: Context, target: typeof slowRead, linear: Val<64>, bytes: number): Val<32> {
    const { code } = x;
    const address = code.call(target, 32, this.record(x), x.cpu, linear, code.constant(32, bytes));
    code.if(address.isZero(), () => code.tailCall(takeFault, this.record(x), x.cpu));
    return address;
  }

  store<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>, value: Val<W>): void {
    const { code } = x;
    const { hit, host } = this.look(x, 'tlbWrite', linear, width / 8);
    if (this.handOver(x, hit)) return code.store(STORE[width], host(), value);
    code.if(
      hit,
      () => code.store(STORE[width], host(), value),
      () => {
        code.store(STORE[width], x.cpu, value, at.scratch);
        this.slow(x, slowWrite, linear, width / 8);
      },
    );
  }

  modify<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Place<W> {
    const { code } = x;
    const bytes = width / 8;
    const { hit, host } = this.look(x, 'tlbWrite', linear, bytes);
    if (this.handOver(x, hit)) return placeAt(code, width, host());
    const address = code.choose(hit, 32, host, () => this.slow(x, slowModify, linear, bytes));
    return {
      read: () => code.load(LOAD[width], width, address),
      write: (value) => {
        code.store(STORE[width], address, value);
        // What cannot be lent in place (devices, page crossings) was lent in the scratch: give it back.
        code.if(address.eq(x.cpu.add(at.scratch)), () => code.run(hostCommit, this.record(x), x.cpu));
      },
    };
  }

  probeWrite(x: Context, bytes: number, linear: Val<64>): void {
    const { hit } = this.look(x, 'tlbWrite', linear, bytes);
    if (!this.handOver(x, hit)) x.code.if(hit.isZero(), () => this.slow(x, slowProbe, linear, bytes));
  }

  hostAddress(x: Context, linear: Val<64>, access: 0 | 1): Val<32> {
    const { hit, host } = this.look(x, access === 1 ? 'tlbWrite' : 'tlbRead', linear, 1);
    return x.code.select(hit, host(), x.const(32, 0));
  }

  reach(x: Context, linear: Val<64>, access: 0 | 1, wanted: Val<32>): Val<32> {
    return x.code.call(reachOf, 32, x.get32(access === 1 ? 'tlbWrite' : 'tlbRead'), linear, wanted);
  }

  checkSegment(x: Context, segment: Val<32>, offset: Val<32>, bytes: number, access: 0 | 1): Val<64> {
    const { code } = x;
    const linear = code.call(checkSegment, 64, this.record(x), x.cpu, segment, offset, code.constant(32, bytes), code.constant(32, access));
    code.if(linear.ltS(0), () => code.return());
    return linear;
  }

  fault(x: Context, vector: number, errorCode?: Val<32>): void {
    noteFault(x.code, x.cpu, this.record(x), vector, errorCode ?? null);
    x.code.tailCall(takeFault, this.record(x), x.cpu);
  }

  next(x: Context): void {
    goTo(x.code, x.code.param(0, 32).add(this.offset + Record.BYTES), x.cpu);
  }

  private linked(x: Context, linkOffset: number, reason: number, offset: Val<32>): void {
    const { code, cpu } = x;
    const left = charge(code, cpu, code.param(0, 32), 1, this.offset);
    const link = this.field(x, linkOffset);
    const target = x.get64('blockRip').add(offset.sext(64));
    const rip = x.facts.long ? target : target.and(0xffffffffn);
    code.if(left.geS(0).and(link.gtU(1)), () => {
      x.set64('blockRip', rip);
      goTo(code, link, cpu);
    });
    x.set64('rip', rip);
    code.tailCall(jumpSlow, this.record(x), cpu, link, code.constant(32, reason));
  }

  jumpDirect(x: Context): void {
    this.linked(x, Record.LINK_TAKEN, ExitReason.LINK_TAKEN, x.fields.targetOffset());
  }

  fallThrough(x: Context): void {
    this.linked(x, Record.LINK_NEXT, ExitReason.LINK_NEXT, x.fields.blockOffset().add(x.fields.length()));
  }

  jumpIndirect(x: Context, target: Val<64>): void {
    charge(x.code, x.cpu, x.code.param(0, 32), 1, this.offset);
    goToRip(x.code, this.record(x), x.cpu, target);
  }

  repeat(x: Context, again: () => void): void {
    const { code } = x;
    // What waits has set the budget to less than nothing; and traps come behind each element or none.
    const budget = x.get32('budget').sub(REPEAT_COST);
    const goesOn = budget.geS(code.load('i32.load8_u', 32, this.record(x), Record.INDEX)).and(x.get32('mode').and(Mode.SINGLE).isZero());
    code.if(goesOn, () => {
      x.set32('budget', budget);
      again();
    });
    leave(x.code, x.cpu, this.record(x), ExitReason.REPEAT);
  }

  system(x: Context): void {
    x.code.tailCall(systemHere, this.record(x), x.cpu);
  }

  interrupt(x: Context, vector: Val<32>): void {
    const { code, cpu } = x;
    const done = code.call(deliverPlain, 32, cpu, vector, code.constant(32, Delivery.SOFTWARE), code.constant(32, 0), x.nextRip());
    code.if(done.isZero(), () => this.system(x));
    charge(code, cpu, code.param(0, 32), 1, this.offset);
    code.tailCall(dispatchTargets.near, this.record(x), cpu);
  }

  forgetPage(x: Context, linear: Val<64>): void {
    x.code.if(x.code.call(invalidatePage, 32, x.cpu, linear).isZero(), () => this.system(x));
  }

  switchBank(x: Context, privilege: Val<32>): void {
    x.code.if(x.code.call(switchBank, 32, x.cpu, privilege).isZero(), () => this.system(x));
  }

  time(x: Context): Val<64> {
    return x.code.call(readTime, 64, this.record(x), x.cpu, x.get32('budget'));
  }

  isBeforeNop(x: Context): Val<32> {
    return x.code.load('i32.load8_u', 32, this.record(x), Record.BEFORE_NOP);
  }

  isLast(x: Context): Val<32> {
    // Slots with a fixed meaning end blocks, but for SYSTEM, whose instruction runs before events are looked at.
    const next = this.field(x, Record.BYTES + Record.HANDLER);
    return next.ltU(Slot.FIRST_FREE).and(next.ne(Slot.SYSTEM));
  }
}
