import type { Meanings } from '../emitter.js';
import { arithmetic } from './arithmetic.js';
import { bits } from './bits.js';
import { control } from './control.js';
import { data } from './data.js';
import { decimal } from './decimal.js';
import { flagControl } from './flag-control.js';
import { multiplication } from './multiply.js';
import { shifts } from './shift.js';
import { stack } from './stack.js';
import { strings } from './string.js';

/** The general-purpose instructions that need no system state. */
export const generalMeanings: Meanings = {
  ...data,
  ...arithmetic,
  ...shifts,
  ...multiplication,
  ...bits,
  ...decimal,
  ...flagControl,
  ...stack,
  ...strings,
  ...control,
};
