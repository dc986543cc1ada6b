import type { Instruction } from '@nestvm/decoder';
import { Cr4, Vector } from '@nestvm/isa';
import { isMonitorTriggered, Monitor } from '../events/monitor.js';
import { readTsc } from '../msr/time.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, CR4, GPR, GUEST_MODE, word } from '../words.js';
import { armAt } from './wait.js';

const MONITOR_ARMED = word('monitorArmed');
const UMWAIT_CONTROL = 0xe1;
const RAX = GPR;
const RDX = GPR + 4;
const TWO_32 = 4294967296;

/** MONITOR for user programs, at the address in any register. */
export function UMONITOR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w } = cpu;
  const at = GPR + 2 * insn.rm;
  return armAt(cpu, insn, w[at]!, w[at + 1]!, Monitor.USER) ? Outcome.NEXT : Outcome.FAULT;
}

/** Nanoseconds from now until the guest's TSC reaches EDX:EAX; 0 when that is past. In guest mode this undoes the hypervisor's scaling of the TSC. */
function delayNs(cpu: Vcpu): number {
  const { w } = cpu;
  readTsc(cpu);
  const now = (cpu.hi >>> 0) * TWO_32 + (cpu.lo >>> 0);
  const until = (w[RDX]! >>> 0) * TWO_32 + (w[RAX]! >>> 0);
  if (until <= now) return 0;
  const ticks = until - now;
  return Math.ceil(w[GUEST_MODE] === 0 || cpu.virtualization?.unscaleTicks === undefined ? ticks : cpu.virtualization.unscaleTicks(ticks));
}

/** The most that the operating system lets a program wait, in ticks; Infinity when it sets no limit (SDM Vol. 2, "UMWAIT"). */
function limit(cpu: Vcpu): number {
  cpu.msrs.read(UMWAIT_CONTROL);
  const quanta = (cpu.lo & ~3) >>> 0;
  return quanta === 0 ? Infinity : quanta;
}

/** Waits until a time, or until `armed` says so. CF: the operating system's limit has ended it. */
function wait(cpu: Vcpu, insn: Readonly<Instruction>, event: 'UMWAIT' | 'TPAUSE', armed: number): Outcome {
  const { w } = cpu;
  if ((w[CR4]! & Cr4.TSD) !== 0 && w[CPL] !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted(event, insn.length)) return Outcome.JUMPED;
  // Bit 0 chooses between two depths of sleep, which are alike here.
  if ((w[GPR + 2 * insn.rm]! & ~1) !== 0) return cpu.raise(Vector.GP, 0);
  const wanted = delayNs(cpu);
  const most = limit(cpu);
  const isLimited = most < wanted;
  cpu.writeArithmeticFlags(0);
  const ready = event === 'UMWAIT' && ((armed & Monitor.USER) === 0 || isMonitorTriggered(cpu));
  if (ready || wanted === 0) w[MONITOR_ARMED] = 0;
  else {
    // Times beyond what a number holds exactly are years away.
    const now = cpu.clock.nowNs();
    cpu.timedWait.begin(Math.min(now + Math.min(wanted, most), Number.MAX_SAFE_INTEGER), armed | (isLimited ? Monitor.LIMITED : 0));
  }
  return Outcome.NEXT;
}

/** Waits for a store to the line that UMONITOR armed, or until EDX:EAX. */
export const UMWAIT = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome =>
  wait(cpu, insn, 'UMWAIT', cpu.w[MONITOR_ARMED]! & (Monitor.ARMED | Monitor.USER));

/** Waits until the TSC reaches EDX:EAX. */
export const TPAUSE = (cpu: Vcpu, insn: Readonly<Instruction>): Outcome => wait(cpu, insn, 'TPAUSE', 0);
