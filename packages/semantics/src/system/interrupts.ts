import { GuestMode, Vector } from '@nestvm/isa';
import type { Emitter } from '../emitter.js';
import { isIntercepted, leaveIf } from './leave.js';

/** INT n in 64-bit code: its vector stands in the place of a register's number. */
export const INT: Emitter = (x) => {
  x.ended = true;
  if (!x.facts.long) return x.engine.system(x);
  leaveIf(x, isIntercepted(x, GuestMode.PLAIN_INT));
  x.engine.interrupt(x, x.fields.reg());
};

/** An instruction that is undefined on purpose. */
export const UD2: Emitter = (x) => {
  x.ended = true;
  x.engine.fault(x, Vector.UD);
};
