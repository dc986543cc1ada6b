import type { Val } from '@nestvm/emit';
import { Efer, GIF_CLEAR } from '@nestvm/isa';
import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { goOn, leaveIf } from './leave.js';

/** The instructions that change GIF, for hypervisors at level 0 in 64-bit mode; `held` is what else leaves to the full implementation. */
function changeGif(x: Context, held: Val<32> | null, change: (old: Val<32>) => Val<32>): void {
  if (!x.facts.long) {
    x.engine.system(x);
    x.ended = true;
    return;
  }
  const isOff = x.get32('efer').and(Efer.SVME).isZero();
  const unusual = x.get32('cpl').or(x.get32('guestMode')).or(isOff);
  leaveIf(x, held === null ? unusual : unusual.or(held));
  x.set32('interruptibility', change(x.get32('interruptibility')));
  goOn(x);
}

/** STGI while nothing has been held back. */
export const STGI: Emitter = (x) => changeGif(x, x.get32('eventHeld'), (old) => old.and(~GIF_CLEAR));

export const CLGI: Emitter = (x) => changeGif(x, null, (old) => old.or(GIF_CLEAR));
