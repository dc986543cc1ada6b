/** What a performance counter may count. */
export const Source = { NOTHING: 0, INSTRUCTIONS: 1, CYCLES: 2 } as const;

/** Bits of IA32_PERFEVTSELx and of AMD's PERF_CTLx (SDM Vol. 3, "Architectural Performance Monitoring"; APM Vol. 2, "Performance Monitoring Counters"). */
export const Select = {
  USER: 1 << 16,
  SYSTEM: 1 << 17,
  EDGE: 1 << 18,
  INTERRUPT: 1 << 20,
  ANY_THREAD: 1 << 21,
  ENABLE: 1 << 22,
  INVERT: 1 << 23,
} as const;
/** Of the high half of AMD's: event bits 11:8, and whether guests or hosts alone are counted. */
const SelectHigh = { EVENT: 0xf, GUEST_ONLY: 1 << 8, HOST_ONLY: 1 << 9 } as const;

/** Events by vendor: code with unit mask. Every cycle takes a nanosecond, and reference cycles are cycles. */
const INTEL: Readonly<Record<number, number>> = { 0x003c: Source.CYCLES, 0x013c: Source.CYCLES, 0x00c0: Source.INSTRUCTIONS };
const AMD: Readonly<Record<number, number>> = { 0x0076: Source.CYCLES, 0x00c0: Source.INSTRUCTIONS };

/**
 * What an event-select register lets its counter count. A counter mask turns events into cycles that had at least (or, inverted, fewer than) so many: no cycle here
 * has more than one of anything.
 */
export function sourceOf(intel: boolean, lo: number, hi: number): number {
  if ((lo & Select.ENABLE) === 0 || (lo & Select.EDGE) !== 0 || (hi & SelectHigh.EVENT) !== 0) return Source.NOTHING;
  const source = (intel ? INTEL : AMD)[lo & 0xffff] ?? Source.NOTHING;
  const mask = lo >>> 24;
  if (mask === 0 || source === Source.NOTHING) return source;
  const isInverted = (lo & Select.INVERT) !== 0;
  if (mask === 1) return isInverted ? Source.NOTHING : source;
  return isInverted ? Source.CYCLES : Source.NOTHING;
}

/** States of a vCPU that counters tell apart: bit 0 level 3, bit 1 guest mode. A set of them has bit `1 << state`. */
export const States = { SYSTEM: 0b0101, USER: 0b1010, HOST: 0b0011, GUEST: 0b1100, ALL: 0b1111 } as const;

/** In which states an event-select register counts. */
export function statesOf(lo: number, hi: number): number {
  const levels = ((lo & Select.USER) !== 0 ? States.USER : 0) | ((lo & Select.SYSTEM) !== 0 ? States.SYSTEM : 0);
  const only = hi & (SelectHigh.GUEST_ONLY | SelectHigh.HOST_ONLY);
  if (only === SelectHigh.GUEST_ONLY) return levels & States.GUEST;
  return only === SelectHigh.HOST_ONLY ? levels & States.HOST : levels;
}
