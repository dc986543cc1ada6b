import type { Instruction } from '@nestvm/decoder';
import { Vector } from '@nestvm/isa';
import { segmentAddress } from '../address.js';
import { Activity } from '../events/deliver.js';
import { armMonitor, isMonitorTriggered, Monitor } from '../events/monitor.js';
import { readLinear } from '../operands.js';
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

/** A hint in a spin loop. */
export function PAUSE(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  return cpu.intercepted('PAUSE', insn.length) ? Outcome.JUMPED : Outcome.NEXT;
}

/** Arms monitoring of the cache line at DS:rAX (SDM Vol. 2, MONITOR). */
export function MONITOR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  if (w[CPL] !== 0 && insn.row.mnemonic === 'MONITOR') return cpu.raise(Vector.UD);
  if (w[RCX] !== 0) return cpu.raise(Vector.GP, 0);
  if (!lineAt(cpu, insn, w[RAX]!, w[RAX + 1]!)) return Outcome.FAULT;
  if (cpu.intercepted('MONITOR', insn.length)) return Outcome.JUMPED;
  return arm(cpu, 0) ? Outcome.NEXT : Outcome.FAULT;
}

/** Linear address of an offset in the instruction's segment, into `cpu.lo`/`cpu.hi`. */
function lineAt(cpu: Vcpu, insn: Readonly<Instruction>, lo: number, hi: number): boolean {
  return segmentAddress(cpu, insn.segment, insn.addressSize === 16 ? lo & 0xffff : lo, insn.addressSize === 64 ? hi : 0, 1, false);
}

/** Arms monitoring at the linear address in `cpu.lo`/`cpu.hi`. False: a fault was recorded. */
function arm(cpu: Vcpu, bits: number): boolean {
  const { lo, hi } = cpu;
  // The load checks what any load does; the translation that follows cannot fail.
  if (!readLinear(cpu, lo, hi, 8)) return false;
  cpu.mmu.translate(lo, hi, Access.READ, cpu.w[CPL] === 3);
  armMonitor(cpu, cpu.mmu.physical);
  cpu.w[MONITOR_ARMED] = Monitor.ARMED | bits;
  return true;
}

/** Arms monitoring at an offset in the instruction's segment. False: a fault was recorded. */
export const armAt = (cpu: Vcpu, insn: Readonly<Instruction>, lo: number, hi: number, bits: number): boolean =>
  lineAt(cpu, insn, lo, hi) && arm(cpu, bits);

/** Waits for a store to the monitored line or for an event (SDM Vol. 2, MWAIT); without an armed monitor it does not wait. */
export function MWAIT(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  if (w[CPL] !== 0) return cpu.raise(Vector.UD);
  if ((w[RCX]! & ~1) !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('MWAIT', insn.length, 0, false, w[MONITOR_ARMED]! & Monitor.ARMED)) return Outcome.JUMPED;
  if ((w[MONITOR_ARMED]! & (Monitor.ARMED | Monitor.USER)) !== Monitor.ARMED || isMonitorTriggered(cpu)) {
    w[MONITOR_ARMED] = 0;
    return Outcome.NEXT;
  }
  w[MONITOR_ARMED] = Monitor.ARMED | ((w[RCX]! & 1) !== 0 ? Monitor.BREAK_ON_INTERRUPT : 0);
  w[ACTIVITY] = Activity.MWAIT;
  cpu.requestAttention();
  return Outcome.NEXT;
}

/** MWAIT with an optional timeout in EBX (ECX bit 1); the timeout may end it early at any time, so here it does not wait at all (APM Vol. 3, MWAITX). */
export function MWAITX(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  if ((w[RCX]! & ~3) !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('MWAIT', insn.length)) return Outcome.JUMPED;
  w[MONITOR_ARMED] = 0;
  return Outcome.NEXT;
}

const ZEROES = new Uint8Array(64);

/** Clears the cache line at rAX (APM Vol. 3, CLZERO). */
export function CLZERO(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const lo = insn.addressSize === 16 ? w[RAX]! & 0xffc0 : w[RAX]! & ~63;
  if (!segmentAddress(cpu, insn.segment, lo, insn.addressSize === 64 ? w[RAX + 1]! : 0, 64, true)) return Outcome.FAULT;
  return cpu.linear.writeBytes(cpu.lo, cpu.hi, ZEROES, w[CPL] === 3) ? Outcome.NEXT : Outcome.FAULT;
}
