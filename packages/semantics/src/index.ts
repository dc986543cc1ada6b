/**
 * What each instruction means, as emitters.
 *
 * @packageDocumentation
 */
export {};
