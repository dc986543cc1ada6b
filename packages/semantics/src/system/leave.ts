import type { Val } from '@nestvm/emit';
import type { Context } from '../context.js';

/** Leaves to the full implementation under a condition; nothing architectural has changed by then. */
export const leaveIf = (x: Context, condition: Val<32>): void => x.code.if(condition, () => x.engine.system(x));
