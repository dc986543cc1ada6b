/**
 * Run-time values (Val) and the backends that consume what is written with them.
 *
 * @packageDocumentation
 */
export {};
