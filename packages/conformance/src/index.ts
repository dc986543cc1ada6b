/**
 * Test suites by factory: one per contract, run against every implementation.
 *
 * @packageDocumentation
 */
export * from './vectors/index.js';
export * from './devices/index.js';
