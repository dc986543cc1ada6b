import { Vector } from '@nestvm/isa';
import type { Instruction } from '@nestvm/decoder';
import { segmentAddress } from '../address.js';
import { Activity } from '../events/deliver.js';
import { Outcome } from '../outcome.js';
import { Access } from '../ports/translation.js';
import type { Vcpu } from '../vcpu.js';
import { ACTIVITY, CPL, GPR, word } from '../words.js';

const MONITOR_ARMED = word('monitorArmed');
const RAX = GPR;
const RCX = GPR + 2;

/** Stops until an interrupt. */
export function HLT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('HLT', insn.length)) return Outcome.JUMPED;
  cpu.w[ACTIVITY] = Activity.HLT;
  // What is pending already must wake it at once.
  cpu.requestAttention();
  return Outcome.NEXT;
}

/** A hint in a spin loop: gives the other vCPUs a turn. */
export function PAUSE(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  return cpu.intercepted('PAUSE', insn.length) ? Outcome.JUMPED : Outcome.NEXT;
}

/** Arms address monitoring. */
export function MONITOR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  if (w[CPL] !== 0) return cpu.raise(Vector.UD);
  if (w[RCX] !== 0) return cpu.raise(Vector.GP, 0);
  const hi = insn.addressSize === 64 ? w[RAX + 1]! : 0;
  if (!segmentAddress(cpu, insn.segment, w[RAX]! & (insn.addressSize === 16 ? 0xffff : -1), hi, 1, false)) return Outcome.FAULT;
  if (cpu.intercepted('MONITOR', insn.length)) return Outcome.JUMPED;
  const { lo, hi: high } = cpu;
  if (!cpu.mmu.translate(lo, high, Access.READ, false)) {
    cpu.setPageFaultAddress(lo, high);
    return cpu.raise(Vector.PF, cpu.mmu.errorCode);
  }
  cpu.set64('monitorAddress', BigInt(cpu.mmu.physical));
  w[MONITOR_ARMED] = 1;
  return Outcome.NEXT;
}

/**
 * Waits for a store to the monitored line or an event. Stores by other vCPUs are not watched: waiting may end at any time (SDM Vol. 2, MWAIT, "implementation-dependent optimized
 * state"), so it ends at the next turn of this vCPU.
 */
export function MWAIT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  if (w[CPL] !== 0) return cpu.raise(Vector.UD);
  if ((w[RCX]! & ~1) !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('MWAIT', insn.length)) return Outcome.JUMPED;
  w[MONITOR_ARMED] = 0;
  return Outcome.NEXT;
}
