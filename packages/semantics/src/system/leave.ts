import type { Val } from '@nestvm/emit';
import { Cr4, GuestMode } from '@nestvm/isa';
import type { Context } from '../context.js';

/** Leaves to the full implementation under a condition; nothing architectural has changed by then. */
export const leaveIf = (x: Context, condition: Val<32>): void => x.code.rarely(condition, () => x.engine.system(x));

/** Whether the vCPU is in guest mode without this bit of `GuestMode`: the instruction may be intercepted. */
export const isIntercepted = (x: Context, plain: number): Val<32> =>
  x
    .get32('guestMode')
    .and(GuestMode.ON | plain)
    .eq(GuestMode.ON);

/** Whether an address is not canonical under the paging mode in force: 48 bits, or 57 under CR4.LA57. */
export function isFar(x: Context, address: Val<64>): Val<32> {
  const bits = x.code.select(x.get32('cr4').and(Cr4.LA57), x.const(32, 56), x.const(32, 47));
  return address.shrS(bits).add(1).gtU(1);
}

/** Leaves where a bitmap at an offset of linear memory has a 1 for a number. */
export function leaveIfSet(x: Context, bitmap: Val<32>, bit: Val<32>): void {
  const bits = x.code.load('i32.load8_u', 32, bitmap.add(bit.shrU(3)), 0);
  leaveIf(x, bits.shrU(bit.and(7)).and(1));
}

/** Goes on behind the instruction, which ends its block. */
export function goOn(x: Context): void {
  x.engine.jumpIndirect(x, x.nextRip());
  x.ended = true;
}
