import type { Val } from '@nestvm/emit';
import { GuestMode, Rflags, vcpuState } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { integerOperand } from '../operand.js';
import { goOn, isFar, isIntercepted, leaveIf } from './leave.js';

const at = vcpuState.offset;
/** Bytes of a pseudo-descriptor in 64-bit code: limit and base. */
const BYTES = 10;
const BASE = 2;

function notHere(x: Context): void {
  x.engine.system(x);
  x.ended = true;
}

/** LGDT at level 0 of 64-bit code. */
export const LGDT: Emitter = (x) => {
  if (!x.facts.long) return notHere(x);
  leaveIf(x, x.get32('cpl').or(isIntercepted(x, GuestMode.PLAIN_GDT)));
  const linear = x.operandAddress(BYTES, 0);
  const limit = x.engine.load(x, 16, linear);
  const base = x.engine.load(x, 64, linear.add(BASE));
  leaveIf(x, isFar(x, base));
  x.set32('gdtrLimit', limit.zext(32));
  x.writeState(64, at.gdtrBase, base);
  goOn(x);
};

/** SGDT at level 0 of 64-bit code. */
export const SGDT: Emitter = (x) => {
  if (!x.facts.long) return notHere(x);
  leaveIf(x, x.get32('cpl').or(isIntercepted(x, GuestMode.PLAIN_GDT)));
  const linear = x.operandAddress(BYTES, 1);
  x.engine.probeWrite(x, BYTES, linear);
  x.engine.store(x, 16, linear, x.get32('gdtrLimit').trunc(16));
  x.engine.store(x, 64, linear.add(BASE), x.get64('gdtrBase'));
  goOn(x);
};

const TABLE = 4;
const SELECTOR = 0xfff8;
/** In the high half of a descriptor: S, code and writable; and what they are in a writable data segment. */
const KIND = 0x1a00;
const WRITABLE = 0x1200;

/** VERW at level 0 of 64-bit code of a selector that can be written through, as kernels execute it to have buffers of the processor cleared. */
export const VERW: Emitter = (x) => {
  if (!x.facts.long) return notHere(x);
  // The descriptor is read as such, which RFLAGS.AC does not open users' pages to.
  leaveIf(x, x.get32('cpl').or(x.get32('rflags').and(Rflags.AC)));
  const selector = (integerOperand(x, x.facts.row.operands[0]!, 16).read() as Val<16>).zext(32);
  const outside = selector.or(7).gtU(x.get32('gdtrLimit'));
  leaveIf(x, selector.and(SELECTOR).isZero().or(selector.and(TABLE)).or(outside));
  const high = x.engine
    .load(x, 64, x.get64('gdtrBase').add(selector.and(SELECTOR).zext(64)))
    .shrU(32)
    .trunc(32);
  const level = high.shrU(13).and(3);
  leaveIf(
    x,
    high
      .and(KIND)
      .ne(WRITABLE)
      .or(level.ltU(selector.and(3))),
  );
  x.flags.unpack(x.flags.pack().or(Rflags.ZF));
  goOn(x);
};

/** INVLPG in 64-bit code at level 0; an address that is not canonical does nothing there. */
export const INVLPG: Emitter = (x) => {
  x.ended = true;
  if (!x.facts.long) return x.engine.system(x);
  leaveIf(x, x.get32('cpl').or(isIntercepted(x, GuestMode.PLAIN_INVLPG)));
  const linear = x.operandAddress(1, 0);
  leaveIf(x, isFar(x, linear));
  x.engine.forgetPage(x, linear);
  goOn(x);
};
