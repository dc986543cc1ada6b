import { DebugCtl, updateModeBits } from '../mode.js';
import type { CpuTimer } from '../ports/clock.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, DEBUG_CTL, GUEST_MODE, word } from '../words.js';
import { Select, Source, States, sourceOf, statesOf } from './events.js';

/** Counters by number: general ones, then the fixed ones of Intel. */
export const FIRST_FIXED = 6;
const COUNTERS = 9;
export const FIXED_COUNTERS = COUNTERS - FIRST_FIXED;
/** General counters of Intel. */
export const GENERAL_COUNTERS = 4;

const COUNT = word('pmcCount');
const SELECT = word('pmcSelect');
const FIXED_CONTROL = word('pmcFixedControl');
const GLOBAL_CONTROL = word('pmcGlobalControl');
const GLOBAL_STATUS = word('pmcGlobalStatus');
const PRIVILEGE_WATCHED = word('privilegeWatched');
const TWO_32 = 4294967296;
/** Counters have 48 bits. */
const MODULUS = 2 ** 48;
const FIXED_SOURCES = [Source.INSTRUCTIONS, Source.CYCLES, Source.CYCLES] as const;

/**
 * The performance counters of one vCPU. Nothing is counted while code runs: the machine counts instructions and time anyway, and what a counter has gained since the last
 * look is added when somebody looks, when a control changes, and, if a counter tells levels apart, when the level changes. A counter whose overflow interrupts
 * has a timer (cycles) or shortens the executor's budget (instructions).
 */
export class PerformanceCounters {
  /** Something counts. */
  running = false;
  /** A counter counts in some states of the vCPU only. */
  watchesState = false;
  /** An instruction counter is to interrupt. */
  limited = false;
  /** Retired instructions: the executor's count. */
  instructionCount: () => number = () => 0;
  private readonly source = new Uint8Array(COUNTERS);
  private readonly states = new Uint8Array(COUNTERS);
  private readonly interrupts = new Uint8Array(COUNTERS);
  /** Instructions and cycles at the last look, and the state since. */
  private instructions = 0;
  private cycles = 0;
  private state = 0;
  /** Time that the vCPU has spent halted, and since when it is. */
  private haltedNs = 0;
  private haltedSince = -1;
  private timer: CpuTimer | undefined;
  private armed = false;

  constructor(private readonly cpu: Vcpu) {}

  /** A control was written, or state loaded: works out anew what counts. Call {@link sync} before the write. */
  configure(): void {
    const { w, features } = this.cpu;
    const { intel } = features;
    this.source.fill(Source.NOTHING);
    for (let i = 0; i < FIRST_FIXED; i++) {
      const lo = w[SELECT + 2 * i]!;
      const hi = w[SELECT + 2 * i + 1]!;
      if (!intel || ((w[GLOBAL_CONTROL]! >>> i) & 1) !== 0) this.source[i] = sourceOf(intel, lo, hi);
      this.states[i] = statesOf(lo, hi);
      this.interrupts[i] = (lo & Select.INTERRUPT) !== 0 ? 1 : 0;
    }
    for (let i = 0; i < FIXED_COUNTERS; i++) this.configureFixed(i);
    this.running = false;
    this.watchesState = false;
    this.limited = false;
    for (let i = 0; i < COUNTERS; i++) {
      if (this.states[i] === 0) this.source[i] = Source.NOTHING;
      if (this.source[i] === Source.NOTHING) continue;
      this.running = true;
      if (this.states[i] !== States.ALL) this.watchesState = true;
      if (this.interrupts[i] === 1 && this.source[i] === Source.INSTRUCTIONS) this.limited = true;
    }
    w[PRIVILEGE_WATCHED] = this.watchesState ? 1 : 0;
    this.rebase();
    this.schedule();
  }

  private configureFixed(i: number): void {
    const { w } = this.cpu;
    const control = (w[FIXED_CONTROL]! >>> (4 * i)) & 0xf;
    const at = FIRST_FIXED + i;
    if (((w[GLOBAL_CONTROL + 1]! >>> i) & 1) !== 0) this.source[at] = FIXED_SOURCES[i]!;
    this.states[at] = ((control & 1) !== 0 ? States.SYSTEM : 0) | ((control & 2) !== 0 ? States.USER : 0);
    this.interrupts[at] = control >>> 3;
  }

  /** Brings all counters up to now. Overflows set their status, and interrupt if they are to. */
  sync(): void {
    if (!this.running) return;
    const instructions = this.instructionCount() - this.instructions;
    const cycles = this.cyclesNow() - this.cycles;
    this.instructions += instructions;
    this.cycles += cycles;
    let interrupt = false;
    for (let i = 0; i < COUNTERS; i++) {
      if (this.source[i] === Source.NOTHING || ((this.states[i]! >>> this.state) & 1) === 0) continue;
      const overflows = this.add(i, this.source[i] === Source.INSTRUCTIONS ? instructions : cycles);
      if (overflows && this.interrupts[i] === 1) interrupt = true;
    }
    if (interrupt) this.interrupt();
  }

  /** Interrupts, and stops what IA32_DEBUGCTL says (SDM Vol. 3, "Freezing LBR and Performance Counters on PMI"). */
  private interrupt(): void {
    const { cpu } = this;
    const { w } = cpu;
    const { intel } = cpu.features;
    cpu.interrupts.performanceInterrupt?.(intel);
    if (!intel) return;
    if ((w[DEBUG_CTL]! & DebugCtl.FREEZE_LBRS) !== 0) {
      w[DEBUG_CTL] = w[DEBUG_CTL]! & ~DebugCtl.LBR;
      updateModeBits(cpu);
    }
    if ((w[DEBUG_CTL]! & DebugCtl.FREEZE_COUNTERS) === 0) return;
    w[GLOBAL_CONTROL] = 0;
    w[GLOBAL_CONTROL + 1] = 0;
    this.configure();
  }

  /** True: the counter overflowed. */
  private add(i: number, amount: number): boolean {
    const { w } = this.cpu;
    const sum = this.value(i) + amount;
    this.store(i, sum % MODULUS);
    if (sum < MODULUS) return false;
    if (i < FIRST_FIXED) w[GLOBAL_STATUS] = w[GLOBAL_STATUS]! | (1 << i);
    else w[GLOBAL_STATUS + 1] = w[GLOBAL_STATUS + 1]! | (1 << (i - FIRST_FIXED));
    return true;
  }

  private value(i: number): number {
    const { w } = this.cpu;
    return (w[COUNT + 2 * i + 1]! >>> 0) * TWO_32 + (w[COUNT + 2 * i]! >>> 0);
  }

  private store(i: number, value: number): void {
    const { w } = this.cpu;
    w[COUNT + 2 * i + 1] = value / TWO_32;
    w[COUNT + 2 * i] = (value % TWO_32) | 0;
  }

  /** A counter, into `cpu.lo`/`cpu.hi`. */
  read(i: number): void {
    const { cpu } = this;
    this.sync();
    cpu.lo = cpu.w[COUNT + 2 * i]!;
    cpu.hi = cpu.w[COUNT + 2 * i + 1]!;
  }

  write(i: number, lo: number, hi: number): void {
    const { w } = this.cpu;
    this.sync();
    w[COUNT + 2 * i] = lo;
    w[COUNT + 2 * i + 1] = hi & 0xffff;
    this.schedule();
  }

  /** The privilege level or guest mode may have changed. */
  stateChanged(): void {
    const state = this.stateNow();
    if (state === this.state) return;
    this.sync();
    this.state = state;
  }

  private stateNow(): number {
    const { w } = this.cpu;
    return (w[CPL] === 3 ? 1 : 0) | (w[GUEST_MODE] !== 0 ? 2 : 0);
  }

  /** The vCPU stops executing. */
  halt(): void {
    if (this.haltedSince >= 0) return;
    this.sync();
    this.haltedSince = this.cpu.clock.nowNs();
    this.cancel();
  }

  get isHalted(): boolean {
    return this.haltedSince >= 0;
  }

  /** … and goes on. */
  resume(): void {
    this.haltedNs += this.cpu.clock.nowNs() - this.haltedSince;
    this.haltedSince = -1;
    this.schedule();
  }

  /** How many instructions may run until a counter of them interrupts, at least one. */
  instructionsLeft(): number {
    this.sync();
    return this.left(Source.INSTRUCTIONS);
  }

  /** What is counted from now on starts from here. */
  private rebase(): void {
    this.instructions = this.instructionCount();
    this.cycles = this.running ? this.cyclesNow() : 0;
    this.state = this.stateNow();
  }

  private cyclesNow(): number {
    return (this.haltedSince >= 0 ? this.haltedSince : this.cpu.clock.nowNs()) - this.haltedNs;
  }

  private left(source: number): number {
    let least = Infinity;
    for (let i = 0; i < COUNTERS; i++) if (this.source[i] === source && this.interrupts[i] === 1) least = Math.min(least, MODULUS - this.value(i));
    return least;
  }

  /** Arms the timer for the earliest time at which a counter of cycles can interrupt: later, when it does not count all the time. */
  private schedule(): void {
    const left = this.running && this.haltedSince < 0 ? this.left(Source.CYCLES) : Infinity;
    if (left === Infinity) return this.cancel();
    this.timer ??= this.cpu.clock.createTimer?.(`performance counters of vCPU ${this.cpu.index}`, () => this.expire());
    this.armed = true;
    this.timer?.arm(this.cpu.clock.nowNs() + left);
  }

  private cancel(): void {
    if (this.armed) this.timer?.cancel();
    this.armed = false;
  }

  private expire(): void {
    this.armed = false;
    this.sync();
    this.schedule();
  }
}
