/**
 * Other things to do with a function than to encode it: evaluate it, explain it, record its effects.
 *
 * @packageDocumentation
 */
export { Evaluator } from './evaluate.js';
export type { Surroundings } from './evaluate.js';
export type { Value } from './calculator.js';
export { explain } from './explain.js';
export type { Names } from './explain.js';
export { effectsOf } from './effects.js';
export type { CallEffect, EffectRules, Effects, Range } from './effects.js';
