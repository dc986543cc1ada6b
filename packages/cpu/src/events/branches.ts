import { DebugCtl, updateModeBits } from '../mode.js';
import type { Vcpu } from '../vcpu.js';
import { DEBUG_CTL, GUEST_MODE, LAST_BRANCH, LAST_INTERRUPT, RIP } from '../words.js';

/** Registers of the last branch and of the last one before an interrupt: each a source, then a target. */
const WORDS = 4;

/** The branch from a place to where RIP is now. */
function record(w: Int32Array, fromLo: number, fromHi: number): void {
  w[LAST_BRANCH] = fromLo;
  w[LAST_BRANCH + 1] = fromHi;
  w[LAST_BRANCH + 2] = w[RIP]!;
  w[LAST_BRANCH + 3] = w[RIP + 1]!;
}

/**
 * An instruction of `length` bytes has completed that began at `fromLo`, `fromHi` in guest mode or not: when it did not go on behind itself it was a branch
 * (SDM Vol. 3, "Last Branch, Interrupt, and Exception Recording"). Changes between hypervisor and guest are none.
 */
export function noteBranch(cpu: Vcpu, fromLo: number, fromHi: number, length: number, guestMode: number): void {
  const { w } = cpu;
  if (cpu.branched !== 0 || w[GUEST_MODE] !== guestMode || w[RIP] === ((fromLo + length) | 0)) return;
  cpu.branched = 1;
  if ((w[DEBUG_CTL]! & DebugCtl.LBR) !== 0) record(w, fromLo, fromHi);
}

/**
 * An interrupt or exception took the processor from a place to its handler: what was the last branch is kept beside. The handler of a debug exception is to see
 * the branch that led to it, and steps by instructions itself.
 */
export function noteDelivery(cpu: Vcpu, debug: boolean, fromLo: number, fromHi: number): void {
  const { w } = cpu;
  cpu.branched = 1;
  if (debug) {
    w[DEBUG_CTL] = w[DEBUG_CTL]! & ~(DebugCtl.LBR | DebugCtl.BTF);
    updateModeBits(cpu);
    return;
  }
  if ((w[DEBUG_CTL]! & DebugCtl.LBR) === 0) return;
  for (let i = 0; i < WORDS; i++) w[LAST_INTERRUPT + i] = w[LAST_BRANCH + i]!;
  record(w, fromLo, fromHi);
}
