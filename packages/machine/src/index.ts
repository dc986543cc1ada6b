/**
 * Composition root: createMachine(config).
 *
 * @packageDocumentation
 */
export {};
