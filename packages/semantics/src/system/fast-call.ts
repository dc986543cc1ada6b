import type { Val } from '@nestvm/emit';
import { Efer, Gpr, PrivilegeClass, Rflags, Segment, vcpuState } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { leaveIf } from './leave.js';
import { flatSegment, isInvolved, isReleased, setFlags, setLevel, setSegment } from './privilege.js';

const at = vcpuState.offset;
/** Access rights of the flat segments that fast calls load: code of 64 bits, and data. */
const CODE64 = 0xa09b;
const DATA = 0xc093;
const DPL3 = 3 << 5;
/** What SYSRET loads from R11 (SDM Vol. 2, SYSRET); AC and TF leave to the full implementation. */
const RETURNED = 0x3c7fd7;
const SELECTOR = 0xfffc;

/** Bits 47:32 of STAR for SYSCALL, 63:48 for SYSRET. */
const starHigh = (x: Context): Val<32> => x.readState(32, at.star + 4);

function notHere(x: Context): void {
  x.engine.system(x);
  x.ended = true;
}

/** SYSCALL from 64-bit code. */
export const SYSCALL: Emitter = (x) => {
  if (!x.facts.long) return notHere(x);
  const isOff = x.get32('efer').and(Efer.SCE).isZero();
  const system = x.get32('rflags').and(~Rflags.RF);
  const mask = x.get32('fmask').not();
  leaveIf(x, isInvolved(x).or(isOff).or(system.and(mask).and(Rflags.AC)));
  const flags = system.or(x.flags.pack());
  const masked = flags.and(mask);
  x.engine.switchBank(x, x.const(32, PrivilegeClass.SUPERVISOR));
  const next = x.nextRip();
  x.setGpr(64, Gpr.RCX, next);
  x.setGpr(64, Gpr.R11, flags.zext(64));
  setFlags(x, masked);
  const selector = starHigh(x).and(SELECTOR);
  setSegment(x, Segment.CS, flatSegment(x, selector, CODE64));
  setSegment(x, Segment.SS, flatSegment(x, selector.add(8), DATA));
  setLevel(x, x.const(32, 0));
  x.engine.jumpIndirect(x, x.get64('lstar'));
  x.ended = true;
};

/** SYSRET to 64-bit code in the lower half, with the stack segment of a fast call: then both vendors' rules come to the same. */
export const SYSRET: Emitter = (x) => {
  if (!x.facts.long || x.facts.operandSize !== 64) return notHere(x);
  const isOff = x.get32('cpl').or(x.get32('efer').and(Efer.SCE).isZero());
  const target = x.gpr(64, Gpr.RCX);
  const flags = x.gpr(32, Gpr.R11).and(RETURNED);
  const isFar = target.shrU(47).isZero().xor(1);
  const isOdd = flags.and(Rflags.AC | Rflags.TF).or(isReleased(x, flags));
  const requests = x.get64('uintrRequests');
  const stack = x
    .readState(32, at.segAttributes + 4 * Segment.SS)
    .and(~DPL3)
    .xor(DATA);
  const limit = x.readState(32, at.segLimit + 4 * Segment.SS).add(1);
  const rest = requests
    .or(x.readState(64, at.segBase + 8 * Segment.SS))
    .isZero()
    .xor(1);
  leaveIf(x, isInvolved(x).or(isOff).or(isFar).or(isOdd).or(stack).or(limit).or(rest));
  x.engine.switchBank(x, x.const(32, PrivilegeClass.USER));
  const selector = starHigh(x).shrU(16);
  setFlags(x, flags);
  setSegment(x, Segment.CS, flatSegment(x, selector.add(16).or(3), CODE64 | DPL3));
  setSegment(x, Segment.SS, flatSegment(x, selector.add(8).or(3), DATA | DPL3));
  setLevel(x, x.const(32, 3));
  x.engine.jumpIndirect(x, target);
  x.ended = true;
};
