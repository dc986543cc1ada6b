/**
 * What compiled code is made from and leaves to: decoded records, and the functions of the interpreter.
 *
 * @packageDocumentation
 */

export { enterHead, enterIfKnown, goTo, HANDLER, ifLocated } from './interpreter/entering.js';
export type { Handlers } from './interpreter/handlers.js';
export { writeSwitch } from './interpreter/privilege.js';
export { ExitReason, HEAD_LENGTH, Link, Record, Slot } from './interpreter/record.js';
export { dispatchTargets, goToRecord, jumpSlow, readTime } from './interpreter/runtime.js';
export { refill } from './interpreter/slow-paths.js';
export type { HotCode } from './ports/hot-code.js';
