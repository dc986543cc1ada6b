import type { SvmContext } from '../context.js';
import { Vmcb } from '../vmcb/layout.js';

/** Whether the intercept bit of an exit code from 60h to BFh is set. */
export const isIntercepted = (svm: SvmContext, code: number): boolean =>
  ((svm.i32[svm.vmcb + Vmcb.INTERCEPTS + (code >>> 5) - 3]! >>> (code & 31)) & 1) !== 0;
