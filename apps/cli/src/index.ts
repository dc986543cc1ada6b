/**
 * Nestvm: the command line.
 *
 * @packageDocumentation
 */
export {};
