import type { Meanings } from '../emitter.js';

/** F2XM1, FYL2X and the other transcendental instructions. */
export const transcendentals: Meanings = {};
