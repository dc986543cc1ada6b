/**
 * A client of 9P2000.L, and what every tree must do, for tests.
 * @packageDocumentation
 */
export { FileClient, type ClientEntry, type ClientAttributes } from './client.js';
export { treeChecks, type TreeCheck } from './tree-checks.js';
