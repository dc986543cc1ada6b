import { Gpr, Mode, vcpuState } from '@nestvm/isa';
import type { Form } from './forms.js';
import { CPU, DATA, DATA_BYTES } from './machines.js';

const { offset } = vcpuState;

/** A repeatable stream of 32-bit numbers (xorshift). */
export function randomStream(seed: number): () => number {
  let state = (seed | 1) >>> 0;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
}

/** Arithmetic flags of a state, at their places in RFLAGS. */
export function readFlags(view: DataView): number {
  const result = view.getBigUint64(CPU + offset.flagResult, true);
  const aux = view.getUint32(CPU + offset.flagAux, true);
  let parity = 1;
  for (let b = Number(result & 0xffn) ^ ((aux >>> 8) & 0xff); b !== 0; b &= b - 1) parity ^= 1;
  const cf = aux >>> 31;
  const sf = Number(result >> 63n) ^ (aux & 1);
  return cf | (parity << 2) | (((aux >>> 3) & 1) << 4) | ((result === 0n ? 1 : 0) << 6) | (sf << 7) | ((cf ^ ((aux >>> 30) & 1)) << 11);
}

/** Sets the arithmetic flags of a state. */
export function writeFlags(view: DataView, flags: number): void {
  const zero = (flags >>> 6) & 1;
  const cf = flags & 1;
  const parity = ((flags >>> 2) & 1) ^ zero;
  const aux = (cf << 31) | ((cf ^ ((flags >>> 11) & 1)) << 30) | (((flags >>> 4) & 1) << 3) | (parity << 8) | ((flags >>> 7) & 1);
  view.setBigUint64(CPU + offset.flagResult, BigInt(zero ^ 1), true);
  view.setInt32(CPU + offset.flagAux, aux, true);
}

/** Fills a memory with a state in which the form can run: registers and data at random, addresses mostly aligned, short repetitions. */
export function randomState(memory: ArrayBufferLike, form: Form, next: () => number): void {
  const bytes = new Uint8Array(memory);
  const view = new DataView(memory);
  bytes.fill(0, CPU, CPU + vcpuState.size);
  const fill = (from: number, length: number): void => {
    for (let at = from; at < from + length; at += 4) view.setUint32(at, next(), true);
  };
  fill(CPU + offset.gpr, 128);
  fill(CPU + offset.vec, 16 * 64);
  fill(CPU + offset.fpr, 128);
  fill(DATA, DATA_BYTES + 64);
  const aligned = next() % 4 !== 0 ? -64n : -1n;
  for (let i = 0; i < 16; i++) {
    const at = CPU + offset.gpr + 8 * i;
    // Small numbers, so that divisions fit and counts are short; addresses that are aligned.
    const value = view.getBigUint64(at, true) >> BigInt((next() % 4) * 20);
    view.setBigUint64(at, BigInt.asUintN(64, i === Gpr.RAX || i === Gpr.RCX || i === Gpr.RDX ? value : value & aligned), true);
  }
  if (form.facts.rep !== 0) view.setBigUint64(CPU + offset.gpr + 8 * Gpr.RCX, BigInt(next() % 9), true);
  for (let i = 0; i < 8; i++)
    view.setUint16(CPU + offset.fpr + 16 * i + 8, (next() % 8 === 0 ? 0x7fff : 0x3fe0 + (next() % 64)) | (next() & 0x8000), true);
  const set = (field: keyof typeof offset, value: number): void => view.setUint32(CPU + offset[field], value >>> 0, true);
  set('fcw', 0x37f & ~(next() % 4 === 0 ? next() & 0x3f : 0));
  set('fsw', next() % 4 === 0 ? next() & 0x477f : 0);
  set('ftop', next() & 7);
  set('ftag', next() % 2 === 0 ? 0xff : next() & 0xff);
  set('mxcsr', (0x1f80 & ~(next() % 4 === 0 ? next() & 0x1f80 : 0)) | (next() & 0x6000));
  set('rflags', 0x202 | (next() & 0x400));
  set('cpl', next() % 2 === 0 ? 0 : 3);
  set('mode', Mode.PROTECTED | Mode.X87 | Mode.SSE | Mode.AVX | (form.facts.long ? Mode.LONG | Mode.IA32E | Mode.FLAT : 0));
  set('cr0', 0x80000033);
  view.setBigUint64(CPU + offset.blockRip, 0x1000n, true);
  writeFlags(view, next());
}
