import { UsageError } from '../errors.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** The guest's clock: the host's, the count of instructions, or that count at the host's pace. */
export type ClockSpec =
  | { readonly kind: 'host' }
  | { readonly kind: 'adaptive' }
  | { readonly kind: 'virtual'; readonly shift: number; readonly sleep: boolean };

/** `base`: 'utc', 'localtime', or milliseconds since 1970 (UTC fields); `guestClock`: runs with the virtual clock. */
export interface RtcSpec {
  readonly base: 'utc' | 'localtime' | number;
  readonly guestClock: boolean;
}

/** `shift=auto,sleep=off`, which follows no host's pace: 8 ns for an instruction, about the engine's own. */
const AUTO_SHIFT = 3;

/** Parses `-icount`; throws `UsageError`. */
export function parseIcount(text: string | undefined): ClockSpec {
  if (text === undefined) return { kind: 'host' };
  const { head, values } = parseProperties(text);
  assertKeys('-icount', values, ['shift', 'sleep', 'align', 'rr', 'rrfile', 'rrsnapshot']);
  if (values.has('rr') && values.get('rr') !== 'off')
    throw new UsageError('-icount rr: record and replay are not needed: runs with -icount repeat exactly; leave rr out');
  const shift = head || (values.get('shift') ?? 'auto');
  const sleep = parseSwitch('-icount sleep', values.get('sleep') ?? 'on');
  if (shift === 'auto') return sleep ? { kind: 'adaptive' } : { kind: 'virtual', shift: AUTO_SHIFT, sleep };
  return { kind: 'virtual', shift: parseInteger('-icount shift', shift, 0, 10), sleep };
}

/** Parses `-rtc`; throws `UsageError`. */
export function parseRtc(text: string | undefined): RtcSpec {
  if (text === undefined) return { base: 'utc', guestClock: false };
  const { head, values } = parseProperties(text);
  assertKeys('-rtc', values, ['base', 'clock', 'driftfix']);
  const clock = values.get('clock') ?? 'host';
  if (!['host', 'rt', 'vm'].includes(clock)) throw new UsageError(`-rtc clock=${clock}: no such clock; there are host, rt, vm`);
  const base = head || (values.get('base') ?? 'utc');
  if (base === 'utc' || base === 'localtime') return { base, guestClock: clock === 'vm' };
  const milliseconds = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$/.test(base) ? Date.parse(base.includes('T') ? `${base}Z` : `${base}T00:00:00Z`) : NaN;
  if (Number.isNaN(milliseconds)) throw new UsageError(`-rtc base=${base}: write utc, localtime, 2006-06-17 or 2006-06-17T16:01:21`);
  return { base: milliseconds, guestClock: clock === 'vm' };
}
