import { type Code, defineFunction, type FunctionRef, type Val } from '@nestvm/emit';
import { Cr4, Gpr, Mode, PrivilegeClass, Rflags, Segment, Vector, vcpuState, Xstate } from '@nestvm/isa';
import { Flags } from '@nestvm/semantics';
import { DebugCtl } from '../mode.js';
import { HANDLER } from './entering.js';
import { isHeard } from './page-faults.js';
import { putBank, switchBank } from './privilege.js';
import { ExitReason, Record } from './record.js';
import { charge, dispatchTargets } from './runtime.js';
import { finds } from './slow-paths.js';

const I = 'i32' as const;
const at = vcpuState.offset;
const PAGE = 4096;
const WORD = 8;

/** How an event is delivered: it has an error code, an instruction asks for it, it is a fault, whose frame has RF set. */
export const Delivery = { HAS_ERROR: 1, SOFTWARE: 2, FAULT: 4 } as const;

const UNUSABLE = 1 << 16;
/** A gate of 64 bits that is present: P, S clear and the type but for its lowest bit, which tells trap gates from interrupt gates. */
const GATE_MASK = 0x9e00;
const GATE = 0x8e00;
const TRAP_GATE = 0x100;
/** The high half of a present, accessed, non-conforming segment of 64-bit code with DPL 0; "readable" may be either. */
const CODE_MASK = 0x60fd00;
const CODE = 0x209900;
const GRANULAR = 1 << 23;
const SELECTOR = 0xfff8;
const TABLE = 4;
/** What an event clears. */
const CLEARED = Rflags.TF | Rflags.RF | Rflags.NT | Rflags.VM;
/** The first words of a 64-bit TSS: RSPn at 4, ISTn from 0x24 on. */
const TssOffset = { RSP0: 4, IST: 0x1c } as const;

const state32 = (c: Code, cpu: Val<32>, offset: number): Val<32> => c.load('i32.load', 32, cpu, offset);
const state64 = (c: Code, cpu: Val<32>, offset: number): Val<64> => c.load('i64.load', 64, cpu, offset);
const isFar = (address: Val<64>): Val<32> => address.shrS(47).add(1).gtU(1);

/** The arithmetic flags as they stand in RFLAGS. */
function packedFlags(c: Code, cpu: Val<32>): Val<32> {
  const aux = state32(c, cpu, at.flagAux);
  const result = state64(c, cpu, at.flagResult);
  return new Flags({
    const: (width, value) => c.constant(width, value),
    get32: () => aux,
    get64: () => result,
    set32: (_field, value) => c.store('i32.store', cpu, value, at.flagAux),
    set64: (_field, value) => c.store('i64.store', cpu, value, at.flagResult),
  }).pack();
}

/** What TypeScript must deliver: not from 64-bit code that runs plainly, with CET, MPX, branch records, alignment checks, or somebody who wants to hear of it. */
function isOdd(c: Code, cpu: Val<32>): Val<32> {
  const mode = state32(c, cpu, at.mode);
  const plainMode = mode.and(Mode.LONG | Mode.SINGLE | Mode.ELEMENT | Mode.CET).ne(Mode.LONG);
  const watched = state32(c, cpu, at.privilegeWatched).or(state32(c, cpu, at.deliveryWatched));
  const cet = state32(c, cpu, at.cr4)
    .and(Cr4.CET)
    .or(state32(c, cpu, at.xcr0).and(Xstate.BNDREGS));
  const branches = state32(c, cpu, at.debugCtl).and(DebugCtl.LBR | DebugCtl.BTF);
  return plainMode
    .or(watched)
    .or(cet)
    .or(branches)
    .or(state32(c, cpu, at.rflags).and(Rflags.AC));
}

/** What a descriptor says of a segment. */
interface Loaded {
  readonly selector: Val<32>;
  readonly attributes: Val<32>;
  readonly limit: Val<32>;
  readonly base: Val<64>;
}

function putSegment(c: Code, cpu: Val<32>, segment: number, { selector, attributes, limit, base }: Loaded): void {
  c.store('i32.store16', cpu, selector, at.segSelector + 2 * segment);
  c.store('i32.store', cpu, attributes, at.segAttributes + 4 * segment);
  c.store('i32.store', cpu, limit, at.segLimit + 4 * segment);
  c.store('i64.store', cpu, base, at.segBase + 8 * segment);
}

/** Writes the way into a handler at level 0 for events that need nothing special; any other is given up before anything has changed but the bank in force. */
class PlainDelivery {
  private readonly cpu: Val<32>;
  private readonly vector: Val<32>;
  private readonly how: Val<32>;

  constructor(private readonly c: Code) {
    [this.cpu, this.vector, this.how] = [c.param(0, 32), c.param(1, 32), c.param(2, 32)];
  }

  write(): void {
    const { c, cpu } = this;
    const cpl = state32(c, cpu, at.cpl);
    c.if(isOdd(c, cpu), () => c.return(c.constant(32, 0)));
    c.if(cpl.isZero(), () => c.return(c.call(enterHandlerRef, 32, cpu, this.vector, this.how, c.param(3, 32), c.param(4, 64))));
    c.if(cpl.ne(3), () => c.return(c.constant(32, 0)));
    const before = state32(c, cpu, at.bank);
    c.if(c.call(switchBank, 32, cpu, c.constant(32, PrivilegeClass.SUPERVISOR)).isZero(), () => c.return(c.constant(32, 0)));
    const done = c.call(enterHandlerRef, 32, cpu, this.vector, this.how, c.param(3, 32), c.param(4, 64));
    c.if(done.isZero(), () => c.run(putBank, cpu, before));
    c.return(done);
  }

  private giveUpIf(condition: Val<32>): void {
    this.c.if(condition, () => this.c.return(this.c.constant(32, 0)));
  }

  /** Where `bytes` bytes are, all on one page. */
  private find(table: 'READ' | 'WRITE', linear: Val<64>, bytes: number): Val<32> {
    this.giveUpIf(
      linear
        .trunc(32)
        .and(PAGE - 1)
        .gtU(PAGE - bytes),
    );
    const host = this.c.call(finds[table], 32, this.cpu, linear);
    this.giveUpIf(host.isZero());
    return host;
  }

  /** With the bank of level 0 in force: gate, segment, stack, frame, and then the state. */
  enter(): void {
    const { c, cpu } = this;
    const gate = this.gate();
    const low = c.load('i64.load', 64, gate);
    const high = low.shrU(32).trunc(32);
    const dpl = high.shrU(13).and(3);
    const cpl = state32(c, cpu, at.cpl);
    this.giveUpIf(
      high
        .and(GATE_MASK)
        .ne(GATE)
        .or(this.how.and(Delivery.SOFTWARE).isNonzero().and(dpl.ltU(cpl))),
    );
    const target = low
      .and(0xffffn)
      .or(low.shrU(32).and(0xffff0000n))
      .or(c.load('i64.load32_u', 64, gate, 8).shl(32));
    const code = this.codeSegment(low.trunc(32).shrU(16));
    const stack = this.stack(high.and(7), cpl);
    this.giveUpIf(isFar(target));
    this.pushFrame(stack);
    putSegment(c, cpu, Segment.CS, code);
    c.if(cpl, () => {
      const zero = c.constant(32, 0);
      putSegment(c, cpu, Segment.SS, { selector: zero, attributes: c.constant(32, UNUSABLE), limit: zero, base: c.constant(64, 0) });
      c.store('i32.store', cpu, zero, at.cpl);
      c.store('i32.store', cpu, state32(c, cpu, at.mode).and(~(Mode.USER | Mode.ALIGN)), at.mode);
    });
    const kept = state32(c, cpu, at.rflags).and(~CLEARED);
    const flags = c.select(high.and(TRAP_GATE), kept, kept.and(~Rflags.IF));
    c.store('i32.store', cpu, flags, at.rflags);
    c.store('i64.store', cpu, target, at.rip);
    c.return(c.constant(32, 1));
  }

  private gate(): Val<32> {
    const { c, cpu } = this;
    const offset = this.vector.shl(4);
    this.giveUpIf(offset.add(15).gtU(state32(c, cpu, at.idtrLimit)));
    return this.find('READ', state64(c, cpu, at.idtrBase).add(offset.zext(64)), 16);
  }

  private codeSegment(selector: Val<32>): Loaded {
    const { c, cpu } = this;
    const outside = selector.or(7).gtU(state32(c, cpu, at.gdtrLimit));
    this.giveUpIf(selector.and(TABLE).or(outside).or(selector.and(SELECTOR).isZero()));
    const entry = c.load('i64.load', 64, this.find('READ', state64(c, cpu, at.gdtrBase).add(selector.and(SELECTOR).zext(64)), WORD));
    const [low, high] = [entry.trunc(32), entry.shrU(32).trunc(32)];
    this.giveUpIf(high.and(CODE_MASK).ne(CODE));
    const pages = low.and(0xffff).or(high.and(0xf0000));
    const limit = c.select(high.and(GRANULAR), pages.shl(12).or(0xfff), pages);
    const base = low
      .shrU(16)
      .or(high.and(0xff).shl(16))
      .or(high.and(0xff00_0000 | 0));
    return { selector: selector.and(0xfffc), attributes: high.shrU(8).and(0xf0ff), limit, base: base.zext(64) };
  }

  /** Top of the handler's stack: of the TSS for another level or where the gate says so. */
  private stack(ist: Val<32>, cpl: Val<32>): Val<64> {
    const { c, cpu } = this;
    const top = c.variable(state64(c, cpu, at.gpr + 8 * Gpr.RSP));
    c.if(ist.or(cpl), () => {
      const offset = c.select(ist, ist.mul(WORD).add(TssOffset.IST), c.constant(32, TssOffset.RSP0));
      this.giveUpIf(offset.add(7).gtU(state32(c, cpu, at.segLimit + 4 * Segment.TR)));
      const place = this.find('READ', state64(c, cpu, at.segBase + 8 * Segment.TR).add(offset.zext(64)), WORD);
      top.set(c.load('i64.load', 64, place));
    });
    this.giveUpIf(isFar(top.get()));
    return top.get().and(~15n);
  }

  /** Five words, or six with an error code, on one page. */
  private pushFrame(top: Val<64>): void {
    const { c, cpu, how } = this;
    const hasError = how.and(Delivery.HAS_ERROR);
    const bottom = top.sub(c.select(hasError, c.constant(64, 6 * WORD), c.constant(64, 5 * WORD)));
    this.giveUpIf(top.sub(1).xor(bottom).and(~0xfffn).isNonzero());
    const frame = c.call(finds.WRITE, 32, cpu, bottom);
    this.giveUpIf(frame.isZero());
    c.if(hasError, () => c.store('i64.store', frame, c.param(3, 32).zext(64)));
    const words = c.select(hasError, frame.add(WORD), frame);
    const selector = (segment: number): Val<64> => c.load('i64.load16_u', 64, cpu, at.segSelector + 2 * segment);
    const resume = c.select(how.and(Delivery.FAULT), c.constant(32, Rflags.RF), c.constant(32, 0));
    const image = state32(c, cpu, at.rflags).or(packedFlags(c, cpu)).or(resume);
    c.store('i64.store', words, c.param(4, 64));
    c.store('i64.store', words, selector(Segment.CS), WORD);
    c.store('i64.store', words, image.zext(64), 2 * WORD);
    c.store('i64.store', words, state64(c, cpu, at.gpr + 8 * Gpr.RSP), 3 * WORD);
    c.store('i64.store', words, selector(Segment.SS), 4 * WORD);
    c.store('i64.store', cpu, bottom, at.gpr + 8 * Gpr.RSP);
  }
}

const EVENT = { params: [I, I, I, I, 'i64'], results: [I] } as const;
const enterHandler = defineFunction('enterHandler', EVENT, (c) => new PlainDelivery(c).enter());
const enterHandlerRef: FunctionRef = enterHandler;

/** Delivers an event from 64-bit code to a handler at level 0: (cpu, vector, how, error, return address) → 1, or 0 where TypeScript must do it, with nothing changed. */
export const deliverPlain = defineFunction('deliverPlain', EVENT, (c) => new PlainDelivery(c).write());

/** The same for TypeScript, which has addresses in halves. */
export const deliverHere = defineFunction('deliverHere', { params: [I, I, I, I, I, I], results: [I] }, (c) => {
  const rip = c.param(4, 32).zext(64).or(c.param(5, 32).zext(64).shl(32));
  c.tailCall(deliverPlain, c.param(0, 32), c.param(1, 32), c.param(2, 32), c.param(3, 32), rip);
});

/** Faults whose frame has no RF, or that are no faults at all. */
const OTHERS = (1 << Vector.DB) | (1 << Vector.DF) | (1 << Vector.MC);

/**
 * Goes on with the handler of the fault that is recorded, of the instruction of a record; or leaves with it, for TypeScript to deliver, where it is not plain. A record that has left for another
 * reason has left.
 */
export const takeFault = defineFunction('takeFault', HANDLER, (c) => {
  const [record, cpu] = [c.param(0, 32), c.param(1, 32)];
  const vector = state32(c, cpu, at.faultVector);
  const isOther = vector.gtU(31).or(c.constant(32, OTHERS).shrU(vector.and(31)).and(1));
  const hasLeft = state32(c, cpu, at.exitReason).ne(ExitReason.FAULT);
  const isAsked = c.select(vector.eq(Vector.PF), isHeard(c, cpu), state32(c, cpu, at.guestMode));
  c.if(isOther.or(hasLeft).or(isAsked), () => c.return());
  const how = state32(c, cpu, at.faultHasError).and(1).or(Delivery.FAULT);
  const rip = state64(c, cpu, at.blockRip).add(c.load('i64.load16_u', 64, record, Record.BLOCK_OFFSET));
  const done = c.call(deliverPlain, 32, cpu, vector, how, state32(c, cpu, at.faultError), rip);
  c.if(done.isZero(), () => c.return());
  c.if(vector.eq(Vector.PF), () => c.store('i64.store', cpu, state64(c, cpu, at.slowAddress), at.cr2));
  charge(c, cpu, record, 1);
  c.tailCall(dispatchTargets.near, record, cpu);
});
