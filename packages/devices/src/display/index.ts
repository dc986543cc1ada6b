/**
 * What graphics cards show.
 *
 * @packageDocumentation
 */
export { isDisplay } from './display.js';
export type { Display, Picture } from './display.js';
export { formatPpm } from './ppm.js';
