import type { Meanings } from './emitter.js';
import { generalMeanings } from './general/index.js';
import { systemMeanings } from './system/index.js';
import { vectorMeanings } from './vector/index.js';
import { x87Meanings } from './x87/index.js';

/** Every instruction that has an emitter, by mnemonic. Where two families use a name, the general one comes first. */
export const meanings: Meanings = { ...vectorMeanings, ...x87Meanings, ...generalMeanings, ...systemMeanings };
