/**
 * The arena in the one WebAssembly.Memory, the guest-physical map, the dirty log.
 *
 * @packageDocumentation
 */
export { createArena, PAGE_BYTES } from './arena.js';
export type { Allocation, Arena, ArenaOptions } from './arena.js';
export { PhysicalMemory } from './physical-memory.js';
export type { MemoryObserver, PhysicalMemoryOptions, RomWrite } from './physical-memory.js';
export { PageFlag, WRITE_TRAP } from './page-flag.js';
export { DirtyLog } from './dirty-log.js';
export type { DirtyLogHost } from './dirty-log.js';
export type { MemoryRange } from './ranges.js';
export { MemoryError } from './errors.js';
export type { MemoryErrorCode } from './errors.js';
