/**
 * Our own small guests: a 64-bit kernel, and hypervisors that nest, assembled at run time.
 *
 * @packageDocumentation
 */
import type { GuestImage } from './image.js';
import { kernelImage } from './kernel.js';
import { eventsImage } from './events.js';
import { svmPairImage, vmxPairImage } from './pair.js';
import { svmSignalsImage, vmxSignalsImage } from './signals.js';
import { svmImage } from './svm.js';
import { vmxImage } from './vmx.js';

export { eventNames, eventsImage } from './events.js';
export type { EventsOptions } from './events.js';
export { kernelImage } from './kernel.js';
export { svmPairImage, vmxPairImage } from './pair.js';
export type { PairOptions } from './pair.js';
export { svmSignalsImage, vmxSignalsImage } from './signals.js';
export { svmImage } from './svm.js';
export { vmxImage } from './vmx.js';
export type { GuestImage } from './image.js';
export type { LevelOptions, ProgramName } from './programs.js';

/** Every guest by name. */
export const guests = {
  kernel: kernelImage,
  svm: svmImage,
  vmx: vmxImage,
  events: eventsImage,
  'svm-pair': svmPairImage,
  'vmx-pair': vmxPairImage,
  'svm-signals': svmSignalsImage,
  'vmx-signals': vmxSignalsImage,
} as const satisfies Record<string, () => GuestImage>;

/** Names of the guests. */
export const guestNames = Object.keys(guests) as readonly (keyof typeof guests)[];
