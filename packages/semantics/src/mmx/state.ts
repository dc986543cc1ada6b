import type { Context } from '../context.js';
import type { Emitter } from '../emitter.js';
import { checkPending } from '../x87/emitters.js';

/** Every MMX instruction but EMMS makes all x87 registers valid and the stack top 0 (SDM Vol. 1, "Effect of MMX Instructions on x87 FPU Tag Word"). */
function enterMmx(x: Context): void {
  x.set32('ftop', x.const(32, 0));
  x.set32('ftag', x.const(32, 0xff));
}

/** EMMS, FEMMS: all x87 registers empty, stack top 0. */
export const EMMS: Emitter = (x) => {
  checkPending(x);
  x.set32('ftop', x.const(32, 0));
  x.set32('ftag', x.const(32, 0));
};

/** An emitter whose MMX forms wait for x87 exceptions (#MF) and also enter the MMX state, after the last possible fault. */
export const entersMmx =
  (emitter: Emitter): Emitter =>
  (x) => {
    const { operands, mnemonic } = x.facts.row;
    const inMemory = x.facts.memory && mnemonic === 'CVTPI2PD';
    const enters = !inMemory && operands.some((o) => o.method === 'P' || o.method === 'N' || o.method === 'Q');
    if (enters) checkPending(x);
    emitter(x);
    if (enters) enterMmx(x);
  };
