import type { Code, IntWidth, Val } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Context, Engine, Fields, Place } from '@nestvm/semantics';
import { switchBank } from './privilege.js';
import { ExitReason, Record, Slot } from './record.js';
import { charge, checkSegment, goTo, goToRip, hostTime, jumpSlow, leave, leaveWithFault, systemHere } from './runtime.js';
import { hostCommit, slowModify, slowProbe, slowRead, slowWrite } from './slow-paths.js';

const at = vcpuState.offset;
type MemoryWidth = IntWidth | 128;

const LOAD = { 8: 'i32.load8_u', 16: 'i32.load16_u', 32: 'i32.load', 64: 'i64.load', 128: 'v128.load' } as const;
const STORE = { 8: 'i32.store8', 16: 'i32.store16', 32: 'i32.store', 64: 'i64.store', 128: 'v128.store' } as const;
const INDEX_MASK = 1023 << 4;

/** The fields of a record, loaded where they are used. */
export function recordFields(c: Code, record: Val<32>): Fields {
  const u16 = (offset: number): Val<32> => c.load('i32.load16_u', 32, record, offset);
  const u8 = (offset: number): Val<32> => c.load('i32.load8_u', 32, record, offset);
  return {
    reg: () => u16(Record.REG),
    rm: () => u16(Record.RM),
    vvvv: () => u16(Record.VVVV),
    base: () => u16(Record.BASE),
    index: () => u16(Record.INDEX_REGISTER),
    scale: () => u8(Record.SCALE),
    displacement: () => c.load('i32.load', 32, record, Record.DISPLACEMENT),
    segment: () => u8(Record.SEGMENT),
    immediate: () => c.load('i64.load', 64, record, Record.IMMEDIATE),
    immediate32: () => c.load('i32.load', 32, record, Record.IMMEDIATE),
    blockOffset: () => u16(Record.BLOCK_OFFSET),
    length: () => u8(Record.LENGTH),
    targetOffset: () => c.load('i32.load', 32, record, Record.TARGET),
  };
}

/** The interpreter's engine: memory through the TLB of the vCPU, flow through records. Functions take (record, cpu). */
export class InterpreterEngine implements Engine {
  private record(x: Context): Val<32> {
    return x.code.param(0, 32);
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

  load<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>): Val<W> {
    const { code } = x;
    const bytes = width / 8;
    const { hit, host } = this.look(x, 'tlbRead', linear, bytes);
    const address = code.choose(hit, 32, host, () => this.slow(x, slowRead, linear, bytes));
    return code.load(LOAD[width], width, address);
  }

  private slow(x: Context, target: typeof slowRead, linear: Val<64>, bytes: number): Val<32> {
    const { code } = x;
    const address = code.call(target, 32, this.record(x), x.cpu, linear, code.constant(32, bytes));
    code.if(address.isZero(), () => code.return());
    return address;
  }

  store<W extends MemoryWidth>(x: Context, width: W, linear: Val<64>, value: Val<W>): void {
    const { code } = x;
    const { hit, host } = this.look(x, 'tlbWrite', linear, width / 8);
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
    x.code.if(hit.isZero(), () => this.slow(x, slowProbe, linear, bytes));
  }

  hostAddress(x: Context, linear: Val<64>, access: 0 | 1): Val<32> {
    const { hit, host } = this.look(x, access === 1 ? 'tlbWrite' : 'tlbRead', linear, 1);
    return x.code.select(hit, host(), x.const(32, 0));
  }

  checkSegment(x: Context, segment: Val<32>, offset: Val<32>, bytes: number, access: 0 | 1): Val<64> {
    const { code } = x;
    const linear = code.call(checkSegment, 64, this.record(x), x.cpu, segment, offset, code.constant(32, bytes), code.constant(32, access));
    code.if(linear.ltS(0), () => code.return());
    return linear;
  }

  fault(x: Context, vector: number, errorCode?: Val<32>): void {
    leaveWithFault(x.code, x.cpu, this.record(x), vector, errorCode ?? null);
  }

  next(x: Context): void {
    goTo(x.code, this.record(x).add(Record.BYTES), x.cpu);
  }

  private linked(x: Context, linkOffset: number, reason: number, offset: Val<32>): void {
    const { code, cpu } = x;
    const record = this.record(x);
    const left = charge(code, cpu, record, 1);
    const link = code.load('i32.load', 32, record, linkOffset);
    const target = x.get64('blockRip').add(offset.sext(64));
    const rip = x.facts.long ? target : target.and(0xffffffffn);
    code.if(left.geS(0).and(link.gtU(1)), () => {
      x.set64('blockRip', rip);
      goTo(code, link, cpu);
    });
    x.set64('rip', rip);
    code.tailCall(jumpSlow, record, cpu, link, code.constant(32, reason));
  }

  jumpDirect(x: Context): void {
    this.linked(x, Record.LINK_TAKEN, ExitReason.LINK_TAKEN, x.fields.targetOffset());
  }

  fallThrough(x: Context): void {
    this.linked(x, Record.LINK_NEXT, ExitReason.LINK_NEXT, x.fields.blockOffset().add(x.fields.length()));
  }

  jumpIndirect(x: Context, target: Val<64>): void {
    charge(x.code, x.cpu, this.record(x), 1);
    goToRip(x.code, this.record(x), x.cpu, target);
  }

  repeat(x: Context): void {
    leave(x.code, x.cpu, this.record(x), ExitReason.REPEAT);
  }

  system(x: Context): void {
    x.code.tailCall(systemHere, this.record(x), x.cpu);
  }

  switchBank(x: Context, privilege: Val<32>): void {
    x.code.if(x.code.call(switchBank, 32, x.cpu, privilege).isZero(), () => this.system(x));
  }

  time(x: Context): Val<64> {
    x.code.run(hostTime, this.record(x), x.cpu);
    return x.readState(64, at.scratch);
  }

  isBeforeNop(x: Context): Val<32> {
    return x.code.load('i32.load8_u', 32, this.record(x), Record.BEFORE_NOP);
  }

  isLast(x: Context): Val<32> {
    // Slots with a fixed meaning end blocks, but for SYSTEM, whose instruction runs before events are looked at.
    const next = x.code.load('i32.load', 32, this.record(x), Record.BYTES + Record.HANDLER);
    return next.ltU(Slot.FIRST_FREE).and(next.ne(Slot.SYSTEM));
  }
}
