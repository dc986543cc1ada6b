import { parseSwitch } from '../text.js';
import type { VirtioRow } from './row.js';

/** What a balloon is told. */
export interface BalloonSpec {
  readonly kind: 'balloon';
  readonly deflateOnOom: boolean;
  readonly freePageHint: boolean;
  readonly freePageReporting: boolean;
}

/** `virtio-balloon`. */
export const balloonRow: VirtioRow<BalloonSpec> = {
  stem: 'virtio-balloon',
  keys: ['deflate-on-oom', 'free-page-hint', 'free-page-reporting'],
  help: 'memory that the guest gives away and gets back (balloon in the monitor)',
  parse: (option, values) => {
    const isOn = (key: string, fallback: boolean): boolean => (values.has(key) ? parseSwitch(`${option},${key}`, values.get(key)!) : fallback);
    return {
      kind: 'balloon',
      deflateOnOom: isOn('deflate-on-oom', false),
      freePageHint: isOn('free-page-hint', true),
      freePageReporting: isOn('free-page-reporting', true),
    };
  },
};
