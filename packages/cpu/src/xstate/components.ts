import { cetComponents } from '../cet/xstate.js';
import { mpxComponents } from '../mpx/xstate.js';
import { userInterruptComponent } from '../user-interrupts/xstate.js';
import type { QuadComponent } from './quads.js';

/** The state components that are lists of registers; x87, the vector registers and PKRU have forms of their own. */
export const quadComponents: readonly QuadComponent[] = [...mpxComponents, ...cetComponents, userInterruptComponent];
