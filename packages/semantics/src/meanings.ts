import type { Meanings } from './emitter.js';
import { generalMeanings } from './general/index.js';
import { vectorMeanings } from './vector/index.js';

/** Every instruction that has an emitter, by mnemonic. Where two families use a name, the general one comes first. */
export const meanings: Meanings = { ...vectorMeanings, ...generalMeanings };
