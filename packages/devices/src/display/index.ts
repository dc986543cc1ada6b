/**
 * What graphics cards show.
 *
 * @packageDocumentation
 */
export { isDisplay } from './display.js';
export type { Display, Picture } from './display.js';
export { formatPpm } from './ppm.js';
export { Vga } from './vga/device.js';
export type { TextScreen, VgaOptions } from './vga/device.js';
export type { SavedVga } from './vga/state.js';
