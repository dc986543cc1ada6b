import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';

/** Every MMX instruction but EMMS makes all x87 registers valid and the stack top 0 (SDM Vol. 1, "Effect of MMX Instructions on x87 FPU Tag Word"). */
function enterMmx(x: Context): void {
  x.set32('ftop', x.const(32, 0));
  x.set32('ftag', x.const(32, 0xff));
}

/** EMMS, FEMMS: all x87 registers empty, stack top 0. */
export const EMMS: Emitter = (x) => {
  x.set32('ftop', x.const(32, 0));
  x.set32('ftag', x.const(32, 0));
};

/** An emitter whose MMX forms also enter the MMX state, after the last possible fault. */
export const entersMmx =
  (emitter: Emitter): Emitter =>
  (x) => {
    emitter(x);
    const { operands, mnemonic } = x.facts.row;
    const inMemory = x.facts.memory && mnemonic === 'CVTPI2PD';
    if (!inMemory && operands.some((o) => o.method === 'P' || o.method === 'N' || o.method === 'Q')) enterMmx(x);
  };
