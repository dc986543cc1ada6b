import type { Meanings } from '../emitter.js';

const DIRECTION = 1 << 10;

/** Flag control that needs no privilege (SDM Vol. 1, "Flag Control (EFLAG) Instructions"). */
export const flagControl: Meanings = {
  CLC: (x) => x.flags.setCarry(x.const(32, 0)),
  STC: (x) => x.flags.setCarry(x.const(32, 1)),
  CMC: (x) => x.flags.setCarry(x.flags.cf().xor(1)),
  CLD: (x) => x.set32('rflags', x.get32('rflags').and(~DIRECTION)),
  STD: (x) => x.set32('rflags', x.get32('rflags').or(DIRECTION)),
  /** Undocumented: AL ← CF ? FFH : 0. */
  SALC: (x) => x.setGpr(8, 0, x.flags.cf().neg().trunc(8)),
};
