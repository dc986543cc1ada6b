import { ALARM_ANY, RegB, RtcIndex } from './registers.js';

/** Seconds since 1970-01-01 00:00:00 of a proleptic Gregorian date (month 1-12); out-of-range parts carry over. */
export function toSeconds(year: number, month: number, day: number, hours: number, minutes: number, seconds: number): number {
  return days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds;
}

/** Days since 1970-01-01. Years start in March here, so that the leap day is a year's last. */
function days(year: number, month: number, day: number): number {
  const m = (((month - 1) % 12) + 12) % 12;
  const y = year + Math.floor((month - 1) / 12) - (m < 2 ? 1 : 0);
  const monthFromMarch = (m + 10) % 12;
  const dayOfYear = Math.floor((153 * monthFromMarch + 2) / 5) + day - 1;
  return y * 365 + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + dayOfYear - 719_468;
}

/** A moment as the clock chip shows it; weekday 1 is Sunday. */
export interface CalendarTime {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly weekday: number;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
}

/** The calendar time of `seconds` since 1970-01-01. */
export function fromSeconds(seconds: number): CalendarTime {
  const day = Math.floor(seconds / 86_400);
  const rest = seconds - day * 86_400;
  const shifted = day + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1,
    weekday: ((((day + 4) % 7) + 7) % 7) + 1,
    hours: Math.floor(rest / 3600),
    minutes: Math.floor(rest / 60) % 60,
    seconds: rest % 60,
  };
}

/** A number as register B's data mode stores it. */
const encode = (value: number, regB: number): number => (regB & RegB.BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10)) & 0xff;
/** A stored byte as a number. */
const decode = (byte: number, regB: number): number => (regB & RegB.BINARY ? byte : (byte >> 4) * 10 + (byte & 15));

function encodeHours(hours: number, regB: number): number {
  if (regB & RegB.HOURS_24) return encode(hours, regB);
  return encode(hours % 12 || 12, regB) | (hours >= 12 ? 0x80 : 0);
}

function decodeHours(byte: number, regB: number): number {
  if (regB & RegB.HOURS_24) return decode(byte, regB);
  return (decode(byte & 0x7f, regB) % 12) + (byte & 0x80 ? 12 : 0);
}

/** Writes a moment into the ten clock registers and the century byte. */
export function storeTime(cmos: Uint8Array, seconds: number): void {
  const regB = cmos[RtcIndex.B];
  const time = fromSeconds(seconds);
  cmos[RtcIndex.SECONDS] = encode(time.seconds, regB);
  cmos[RtcIndex.MINUTES] = encode(time.minutes, regB);
  cmos[RtcIndex.HOURS] = encodeHours(time.hours, regB);
  cmos[RtcIndex.WEEKDAY] = encode(time.weekday, regB);
  cmos[RtcIndex.DAY] = encode(time.day, regB);
  cmos[RtcIndex.MONTH] = encode(time.month, regB);
  cmos[RtcIndex.YEAR] = encode(((time.year % 100) + 100) % 100, regB);
  cmos[RtcIndex.CENTURY] = encode(((Math.floor(time.year / 100) % 100) + 100) % 100, regB);
}

/** The moment in the clock registers. */
export function loadTime(cmos: Uint8Array): number {
  const regB = cmos[RtcIndex.B];
  const at = (index: number) => decode(cmos[index], regB);
  const year = at(RtcIndex.CENTURY) * 100 + at(RtcIndex.YEAR);
  return toSeconds(year, at(RtcIndex.MONTH), at(RtcIndex.DAY), decodeHours(cmos[RtcIndex.HOURS], regB), at(RtcIndex.MINUTES), at(RtcIndex.SECONDS));
}

/** First second after `after` at which the alarm bytes match, or Infinity when they never do. */
export function nextAlarm(cmos: Uint8Array, after: number): number {
  const regB = cmos[RtcIndex.B];
  const wanted = (index: number, read: (byte: number, regB: number) => number) => (cmos[index] >= ALARM_ANY ? -1 : read(cmos[index], regB));
  const hour = wanted(RtcIndex.HOURS_ALARM, decodeHours);
  const minute = wanted(RtcIndex.MINUTES_ALARM, decode);
  const second = wanted(RtcIndex.SECONDS_ALARM, decode);
  if (hour > 23 || minute > 59 || second > 59) return Infinity;
  let at = after + 1;
  // At most a day ahead: skip whole hours, then whole minutes, then seconds.
  for (let step = 0; step < 200; step++) {
    const { hours, minutes, seconds } = fromSeconds(at);
    if (hour >= 0 && hours !== hour) at += 3600 - minutes * 60 - seconds;
    else if (minute >= 0 && minutes !== minute) at += 60 - seconds;
    else if (second >= 0 && seconds !== second) at += 1;
    else return at;
  }
  return Infinity;
}
