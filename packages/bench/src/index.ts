/**
 * Benchmarks, paired against peers.
 *
 * @packageDocumentation
 */
export {};
