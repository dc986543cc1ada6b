import { Access } from './access.js';
import { Context, Paging } from './context.js';

/** Bits of a page fault's error code (SDM Vol. 3, "Page-Fault Exceptions"). */
export const PageFault = { P: 1 << 0, W: 1 << 1, U: 1 << 2, RSVD: 1 << 3, I: 1 << 4, PK: 1 << 5, SS: 1 << 6 } as const;

/** The error code of a page fault: `cause` is P, RSVD and PK as the walk found them; W, U and I follow from the access. */
export function pageFaultCode(context: number, access: number, user: boolean, cause: number): number {
  const type = access & Access.TYPE;
  let code = cause;
  if (type === Access.WRITE) code |= PageFault.W;
  if (user) code |= PageFault.U;
  if ((access & Access.SHADOW_STACK) !== 0) code |= PageFault.SS;
  if (type === Access.EXECUTE && reportsFetches(context)) code |= PageFault.I;
  return code;
}

/** The I flag exists where execution can be refused: under SMEP, or with EFER.NXE and a format that has XD. */
function reportsFetches(context: number): boolean {
  return (context & Context.SMEP) !== 0 || ((context & Context.NXE) !== 0 && (context & Context.PAGING) >= Paging.PAE);
}
