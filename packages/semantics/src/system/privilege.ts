import type { IntWidth, Val } from '@nestvm/emit';
import { Cr4, GuestMode, Mode, PrivilegeClass, Rflags, vcpuState, Xstate } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { isIntercepted, leaveIf } from './leave.js';

const at = vcpuState.offset;

/** What keeps a change of privilege from being a change of CPL, segments and flags alone: single steps, CET, MPX, or somebody who wants to hear of it. */
export function isInvolved(x: Context): Val<32> {
  const cet = x.get32('cr4').and(Cr4.CET).or(x.get32('xcr0').and(Xstate.BNDREGS));
  const odd = x.get32('mode').and(Mode.SINGLE | Mode.ELEMENT | Mode.CET);
  return odd.or(cet).or(x.get32('privilegeWatched'));
}

/** Whether flags that set IF let something in that was held back. */
export function isReleased(x: Context, flags: Val<32>): Val<32> {
  const rises = flags.and(x.get32('rflags').not()).and(Rflags.IF).isNonzero();
  return rises.and(x.get32('interruptHeld').isNonzero());
}

/** The class of privilege of code above level 3 under these flags. */
export const supervisorClass = (x: Context, flags: Val<32>): Val<32> =>
  x.code.select(
    x.get32('cr4').and(Cr4.SMAP).isNonzero().and(flags.and(Rflags.AC).isNonzero()),
    x.const(32, PrivilegeClass.SUPERVISOR_AC),
    x.const(32, PrivilegeClass.SUPERVISOR),
  );

/** RFLAGS from an image. */
export function setFlags(x: Context, image: Val<32>): void {
  x.set32('rflags', image.and(~Rflags.ARITHMETIC).or(Rflags.ONE));
  x.flags.unpack(image);
}

/** CPL and what `mode` says of it, for 64-bit code without alignment checks. */
export function setLevel(x: Context, level: Val<32>): void {
  const rest = x.get32('mode').and(~(Mode.USER | Mode.ALIGN));
  x.set32('mode', rest.or(x.code.select(level.eq(3), x.const(32, Mode.USER), x.const(32, 0))));
  x.set32('cpl', level);
}

/** A segment register as `vcpuState` keeps it. */
export interface SegmentValue {
  readonly selector: Val<32>;
  readonly attributes: Val<32>;
  readonly limit: Val<32>;
  readonly base: Val<64>;
}

export function setSegment(x: Context, segment: number, value: SegmentValue): void {
  x.writeState(16, at.segSelector + 2 * segment, value.selector.trunc(16) as Val<16>);
  x.writeState(32, at.segAttributes + 4 * segment, value.attributes);
  x.writeState(32, at.segLimit + 4 * segment, value.limit);
  x.writeState(64, at.segBase + 8 * segment, value.base);
}

/** A flat segment. */
export const flatSegment = (x: Context, selector: Val<32>, attributes: number): SegmentValue => ({
  selector,
  attributes: x.const(32, attributes),
  limit: x.const(32, -1),
  base: x.const(64, 0),
});

/** CLAC and STAC at level 0. */
const accessCheck =
  (isSet: boolean): Emitter =>
  (x) => {
    leaveIf(x, x.get32('cpl'));
    const rest = x.get32('rflags').and(~Rflags.AC);
    const flags = isSet ? rest.or(Rflags.AC) : rest;
    x.engine.switchBank(x, supervisorClass(x, flags));
    x.set32('rflags', flags);
  };

export const STAC = accessCheck(true);
export const CLAC = accessCheck(false);

/** What POPF may change at level 0; AC and TF are left out because more than flags depends on them. */
const POPPED = Rflags.ARITHMETIC | Rflags.DF | Rflags.NT | Rflags.ID | Rflags.IF | Rflags.IOPL;
const LOW_FLAGS = 0xffff;

/** POPF at level 0 that leaves TF, RF and AC as they are. */
export const POPF: Emitter = (x) => {
  const { operandSize } = x.facts;
  if (!x.facts.long) {
    x.engine.system(x);
    x.ended = true;
    return;
  }
  leaveIf(x, x.get32('cpl').or(isIntercepted(x, GuestMode.PLAIN_POPF)));
  const pointer = x.gpr(64, 4);
  const value = x.engine
    .load(x, operandSize as IntWidth, pointer)
    .zext(64)
    .trunc(32);
  const old = x.get32('rflags');
  const mask = operandSize === 16 ? POPPED & LOW_FLAGS : POPPED;
  const special = value.xor(old).and(Rflags.TF | (operandSize === 16 ? 0 : Rflags.AC));
  leaveIf(x, special.or(old.and(Rflags.RF)));
  const flags = old.and(~mask).or(value.and(mask));
  leaveIf(x, isReleased(x, flags));
  x.setGpr(64, 4, pointer.add(operandSize / 8));
  setFlags(x, flags);
};
