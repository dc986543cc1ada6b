import { Mode } from '@nestvm/isa';
import type { Vcpu } from '../vcpu.js';
import { MODE, word } from '../words.js';

const FCW = word('fcw');
const FSW = word('fsw');
const FTOP = word('ftop');
const FTAG = word('ftag');
const FOP = word('fop');
const FCS = word('fcs');
const FDS = word('fds');
const FIP = word('fip');
const FDP = word('fdp');
const FPR = word('fpr');
const VEC = word('vec');
const FPR_WORDS = 32;
const X87_INITIAL_CONTROL = 0x37f;

/** Words of the x87 state that are zero in its initial configuration. */
const CLEAR_X87 = [FSW, FTOP, FTAG, FOP, FCS, FDS, FIP, FIP + 1, FDP, FDP + 1];

/** Writes the x87 part of the legacy region (bytes 0-23 and 32-159) of an area that begins at word `at`. */
export function putX87(cpu: Vcpu, area: Int32Array, at: number, wide: boolean): void {
  const { w } = cpu;
  const top = w[FTOP]!;
  const segments = !wide && !cpu.features.noFcsFds;
  area[at] = (w[FCW]! & 0xffff) | ((w[FSW]! << 16) & 0xc7ff0000) | (top << 27);
  area[at + 1] = (w[FTAG]! & 0xff) | ((w[FOP]! & 0x7ff) << 16);
  area[at + 2] = w[FIP]!;
  area[at + 3] = wide ? w[FIP + 1]! : segments ? w[FCS]! & 0xffff : 0;
  area[at + 4] = w[FDP]!;
  area[at + 5] = wide ? w[FDP + 1]! : segments ? w[FDS]! & 0xffff : 0;
  for (let i = 0; i < 8; i++) {
    const from = FPR + 4 * ((top + i) & 7);
    const to = at + 8 + 4 * i;
    area[to] = w[from]!;
    area[to + 1] = w[from + 1]!;
    area[to + 2] = w[from + 2]! & 0xffff;
    area[to + 3] = 0;
  }
}

/** Loads what {@link putX87} has written. */
export function takeX87(cpu: Vcpu, area: Int32Array, at: number, wide: boolean): void {
  const { w } = cpu;
  w[FCW] = (area[at]! & 0xffff) | 0x40;
  const status = area[at]! >>> 16;
  const top = (status >>> 11) & 7;
  w[FTOP] = top;
  // ES and B follow from what is pending and unmasked.
  const pending = status & ~w[FCW]! & 0x3f;
  w[FSW] = (status & ~0xb880) | (pending !== 0 ? 0x8080 : 0);
  w[FTAG] = area[at + 1]! & 0xff;
  w[FOP] = (area[at + 1]! >>> 16) & 0x7ff;
  w[FIP] = area[at + 2]!;
  w[FIP + 1] = wide ? area[at + 3]! : 0;
  w[FCS] = wide ? 0 : area[at + 3]! & 0xffff;
  w[FDP] = area[at + 4]!;
  w[FDP + 1] = wide ? area[at + 5]! : 0;
  w[FDS] = wide ? 0 : area[at + 5]! & 0xffff;
  for (let i = 0; i < 8; i++) {
    const to = FPR + 4 * ((top + i) & 7);
    const from = at + 8 + 4 * i;
    w[to] = area[from]!;
    w[to + 1] = area[from + 1]!;
    w[to + 2] = (w[to + 2]! & ~0xffff) | (area[from + 2]! & 0xffff);
  }
}

export function clearX87(cpu: Vcpu): void {
  const { w } = cpu;
  w[FCW] = X87_INITIAL_CONTROL;
  for (let i = 0; i < CLEAR_X87.length; i++) w[CLEAR_X87[i]!] = 0;
  for (let i = 0; i < FPR_WORDS; i++) w[FPR + i] = 0;
}

/** Vector registers 0-15 (0-7 outside of 64-bit mode), four words of each slot from word `part` on. */
const vectorWords = (cpu: Vcpu): number => ((cpu.w[MODE]! & Mode.LONG) !== 0 ? 64 : 32);

/** Writes a part of all vector registers, 0 for XMM and 4 for the high halves of YMM, from word `at` on. */
export function putVectors(cpu: Vcpu, area: Int32Array, at: number, part: number): void {
  const { w } = cpu;
  const count = vectorWords(cpu);
  for (let i = 0, from = VEC + part; i < count; i += 4, from += 16) {
    area[at + i] = w[from]!;
    area[at + i + 1] = w[from + 1]!;
    area[at + i + 2] = w[from + 2]!;
    area[at + i + 3] = w[from + 3]!;
  }
}

/** Loads what {@link putVectors} has written. */
export function takeVectors(cpu: Vcpu, area: Int32Array, at: number, part: number): void {
  const { w } = cpu;
  const count = vectorWords(cpu);
  for (let i = 0, to = VEC + part; i < count; i += 4, to += 16) {
    w[to] = area[at + i]!;
    w[to + 1] = area[at + i + 1]!;
    w[to + 2] = area[at + i + 2]!;
    w[to + 3] = area[at + i + 3]!;
  }
}

export function clearVectors(cpu: Vcpu, part: number): void {
  const { w } = cpu;
  const count = vectorWords(cpu);
  for (let i = 0, to = VEC + part; i < count; i += 4, to += 16) {
    w[to] = 0;
    w[to + 1] = 0;
    w[to + 2] = 0;
    w[to + 3] = 0;
  }
}

/** Which of x87 (1), SSE (2) and AVX (4) state are not in their initial configuration. */
export function legacyInUse(cpu: Vcpu): number {
  const { w } = cpu;
  let x87 = w[FCW]! ^ X87_INITIAL_CONTROL;
  for (let i = 0; i < CLEAR_X87.length; i++) x87 |= w[CLEAR_X87[i]!]!;
  for (let i = 0; x87 === 0 && i < FPR_WORDS; i++) x87 |= w[FPR + i]!;
  let sse = 0;
  let avx = 0;
  const count = 4 * vectorWords(cpu);
  for (let i = 0; i < count && (sse === 0 || avx === 0); i += 16) {
    const at = VEC + i;
    sse |= w[at]! | w[at + 1]! | w[at + 2]! | w[at + 3]!;
    avx |= w[at + 4]! | w[at + 5]! | w[at + 6]! | w[at + 7]!;
  }
  return (x87 === 0 ? 0 : 1) | (sse === 0 ? 0 : 2) | (avx === 0 ? 0 : 4);
}
