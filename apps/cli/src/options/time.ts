import { UsageError } from '../errors.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** The guest's clock: the host's, the count of instructions, or that count at the host's pace. */
export type ClockSpec =
  | { readonly kind: 'host' }
  | { readonly kind: 'adaptive' }
  | { readonly kind: 'virtual'; readonly shift: number; readonly sleep: boolean };

const rtcClocks = ['host', 'rt', 'vm'] as const;

/** `base`: 'utc', 'localtime', or milliseconds since 1970 (UTC fields); `clock`: what drives it from there. */
export interface RtcSpec {
  readonly base: 'utc' | 'localtime' | number;
  readonly clock: (typeof rtcClocks)[number];
}

/** `shift=auto,sleep=off`, which follows no host's pace: 8 ns for an instruction, about the engine's own. */
const AUTO_SHIFT = 3;

/** Parses `-icount`; throws `UsageError`. */
export function parseIcount(text: string | undefined): ClockSpec {
  if (text === undefined) return { kind: 'host' };
  const { head, values } = parseProperties(text);
  assertKeys('-icount', values, ['shift', 'sleep', 'align', 'rr', 'rrfile', 'rrsnapshot']);
  if ((values.get('align') ?? 'off') !== 'off')
    throw new UsageError('-icount align: a guest is slowed down to its host by sleep=on, and nothing else is there to align; leave it out');
  if (values.has('rr') && values.get('rr') !== 'off')
    throw new UsageError('-icount rr: record and replay are not needed: runs with -icount repeat exactly; leave rr out');
  const shift = head || (values.get('shift') ?? 'auto');
  const sleep = parseSwitch('-icount sleep', values.get('sleep') ?? 'on');
  if (shift === 'auto') return sleep ? { kind: 'adaptive' } : { kind: 'virtual', shift: AUTO_SHIFT, sleep };
  return { kind: 'virtual', shift: parseInteger('-icount shift', shift, 0, 10), sleep };
}

/** Parses `-rtc`; throws `UsageError`. Unless told otherwise it runs with the host's wall clock, or with guest time where that is to repeat. */
export function parseRtc(text: string | undefined, guest: ClockSpec): RtcSpec {
  const { head, values } = parseProperties(text ?? '');
  assertKeys('-rtc', values, ['base', 'clock', 'driftfix']);
  const clockName = values.get('clock') ?? (guest.kind === 'host' ? 'host' : 'vm');
  const clock = rtcClocks.find((name) => name === clockName);
  if (clock === undefined) throw new UsageError(`-rtc clock=${clockName}: no such clock; there are ${rtcClocks.join(', ')}`);
  const driftfix = values.get('driftfix') ?? 'none';
  if (driftfix !== 'none')
    throw new UsageError(`-rtc driftfix=${driftfix}: periods that a guest was too slow for are not made up; write driftfix=none`);
  const base = head || (values.get('base') ?? 'utc');
  if (base === 'utc' || base === 'localtime') return { base, clock };
  const milliseconds = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?$/.test(base) ? Date.parse(base.includes('T') ? `${base}Z` : `${base}T00:00:00Z`) : NaN;
  if (Number.isNaN(milliseconds)) throw new UsageError(`-rtc base=${base}: write utc, localtime, 2006-06-17 or 2006-06-17T16:01:21`);
  return { base: milliseconds, clock };
}
