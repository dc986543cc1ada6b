import type { Val } from '@nestvm/emit';
import { GuestMode } from '@nestvm/isa';
import type { Context } from '../context.js';

/** Leaves to the full implementation under a condition; nothing architectural has changed by then. */
export const leaveIf = (x: Context, condition: Val<32>): void => x.code.if(condition, () => x.engine.system(x));

/** Whether the vCPU is in guest mode without this bit of `GuestMode`: the instruction may be intercepted. */
export const isIntercepted = (x: Context, plain: number): Val<32> =>
  x
    .get32('guestMode')
    .and(GuestMode.ON | plain)
    .eq(GuestMode.ON);
