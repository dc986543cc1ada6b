/**
 * Text of decoded instructions in Intel and AT&T syntax.
 *
 * @packageDocumentation
 */
export { formatAtt } from './att.js';
export { formatIntel } from './intel.js';
export type { FormatOptions } from './operand.js';
