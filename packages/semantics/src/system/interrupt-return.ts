import type { Val } from '@nestvm/emit';
import { Gpr, GuestMode, PrivilegeClass, Rflags, Segment, vcpuState } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { isIntercepted, leaveIf } from './leave.js';
import { isInvolved, isReleased, type SegmentValue, setFlags, setLevel, setSegment, supervisorClass } from './privilege.js';

const at = vcpuState.offset;
const TABLE = 4;
const SELECTOR = 0xfff8;
const UNUSABLE = 1 << 16;
/** In the high half of a descriptor: P, S, the type without "readable", L and D/B; and what they are in an accessed, non-conforming segment of 64-bit code. */
const CODE_MASK = 0x609d00;
const CODE = 0x209900;
/** P, S and the type without "expand down"; an accessed, writable data segment. */
const DATA_MASK = 0x9b00;
const DATA = 0x9300;
const GRANULAR = 1 << 23;
/** What IRET at level 0 may change but for RF, which matters to code breakpoints only: with one armed, instructions run singly and are not here. */
const RETURNED =
  Rflags.ARITHMETIC | Rflags.TF | Rflags.DF | Rflags.NT | Rflags.AC | Rflags.ID | Rflags.IOPL | Rflags.VIF | Rflags.VIP | Rflags.IF | Rflags.RF;

/** The descriptor of a selector in the GDT, if it is in there at all and of the level given. */
function descriptorOf(x: Context, selector: Val<32>, level: Val<32>, mask: number, expected: number): SegmentValue {
  const outside = selector.or(7).gtU(x.get32('gdtrLimit'));
  leaveIf(x, selector.and(TABLE).or(outside));
  const entry = x.engine.load(x, 64, x.get64('gdtrBase').add(selector.and(SELECTOR).zext(64)));
  const [low, high] = [entry.trunc(32), entry.shrU(32).trunc(32)];
  const dpl = high.shrU(13).and(3);
  leaveIf(x, high.and(mask).ne(expected).or(dpl.ne(level)));
  const pages = low.and(0xffff).or(high.and(0xf0000));
  const limit = x.code.select(high.and(GRANULAR), pages.shl(12).or(0xfff), pages);
  const base = low
    .shrU(16)
    .or(high.and(0xff).shl(16))
    .or(high.and(0xff00_0000 | 0));
  return { selector, attributes: high.shrU(8).and(0xf0ff), limit, base: base.zext(64) };
}

/** The stack segment of a return to a level: null at level 0, or a descriptor. Both give their values through variables. */
function stackOf(x: Context, selector: Val<32>, level: Val<32>): SegmentValue {
  const { code } = x;
  const isNull = selector.or(level).isZero();
  leaveIf(x, selector.and(SELECTOR).isZero().and(isNull.isZero()).or(selector.and(3).ne(level)));
  const attributes = code.variable(x.const(32, UNUSABLE));
  const limit = code.variable(x.const(32, 0));
  const base = code.variable(x.const(64, 0));
  code.if(isNull.isZero(), () => {
    const found = descriptorOf(x, selector, level, DATA_MASK, DATA);
    attributes.set(found.attributes);
    limit.set(found.limit);
    base.set(found.base);
  });
  return { selector, attributes: attributes.get(), limit: limit.get(), base: base.get() };
}

/** Leaves where a return to level 3 would make a data segment null. */
function leaveIfDropped(x: Context): void {
  for (const segment of [Segment.ES, Segment.DS, Segment.FS, Segment.GS]) {
    const attributes = x.readState(32, at.segAttributes + 4 * segment);
    const isUsable = attributes.and(UNUSABLE).isZero();
    leaveIf(x, isUsable.and(attributes.shrU(5).and(3).ne(3)));
  }
}

/** IRET from level 0 to 64-bit code of level 0 or 3, through flat memory that is there: what operating systems do all day. */
export const IRET: Emitter = (x) => {
  const { code } = x;
  if (!x.facts.long || x.facts.operandSize !== 64) {
    x.engine.system(x);
    x.ended = true;
    return;
  }
  const isBlocked = isIntercepted(x, GuestMode.PLAIN_IRET).or(x.get32('interruptibility')).or(x.get32('cpl'));
  leaveIf(
    x,
    isInvolved(x)
      .or(isBlocked)
      .or(x.get32('rflags').and(Rflags.NT | Rflags.AC)),
  );
  const pointer = x.gpr(64, Gpr.RSP);
  const word = (n: number): Val<64> => x.engine.load(x, 64, pointer.add(8 * n));
  const rip = word(0);
  const selector = word(1).trunc(32).and(0xffff);
  const image = word(2).trunc(32);
  const level = selector.and(3);
  const isUser = level.eq(3);
  leaveIf(x, level.ne(0).and(isUser.isZero()).or(selector.and(SELECTOR).isZero()));
  const cs = descriptorOf(x, selector, level, CODE_MASK, CODE);
  const rsp = word(3);
  const ss = stackOf(x, word(4).trunc(32).and(0xffff), level);
  const flags = x
    .get32('rflags')
    .and(~RETURNED)
    .or(image.and(RETURNED & ~Rflags.RF));
  leaveIf(x, rip.shrS(47).add(1).gtU(1).or(flags.and(Rflags.TF)).or(isReleased(x, flags)));
  code.if(isUser, () => {
    leaveIf(x, flags.and(Rflags.AC).or(x.get64('uintrRequests').isZero().xor(1)));
    leaveIfDropped(x);
  });
  x.engine.switchBank(x, code.select(isUser, x.const(32, PrivilegeClass.USER), supervisorClass(x, flags)));
  setSegment(x, Segment.CS, cs);
  setSegment(x, Segment.SS, ss);
  x.setGpr(64, Gpr.RSP, rsp);
  setFlags(x, flags);
  setLevel(x, level);
  x.engine.jumpIndirect(x, rip);
  x.ended = true;
};
