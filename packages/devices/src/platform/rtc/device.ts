import { type Clock, type Device, type Line, nsToTicks, type Timer, ticksToNs, type Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import { loadTime, nextAlarm, storeTime } from './calendar.js';
import { REG_D_VALID, RegA, RegB, RegC, RtcIndex, RtcPort, UIP_NS } from './registers.js';
import { SourceClock } from './source-clock.js';
import { rtcSchema, type SavedRtc } from './state.js';

const SECOND = 1_000_000_000;
const OSCILLATOR_HZ = 32_768;

/** What a board tells its RTC. */
export interface RtcOptions {
  /** Seconds since 1970-01-01 that the clock shows at power-on (default 0). Use local time for guests that expect that. */
  readonly epochSeconds?: number;
  /** Bytes of RAM below 4 GiB, for the memory-size bytes (default 640 KiB). */
  readonly lowMemoryBytes?: number;
  /** Bytes of RAM above 4 GiB (default 0). */
  readonly highMemoryBytes?: number;
  /** Number of CPUs (default 1). */
  readonly cpus?: number;
  /** Nanoseconds since power-on by the clock that drives it (need not be whole); by default it runs with the guest's. */
  readonly sourceNs?: () => number;
}

/**
 * MC146818A real-time clock with 128 bytes of CMOS RAM, interrupt `isa:8`. Time and flags are computed when asked for; a timer runs only for an enabled
 * interrupt cause whose flag is not yet set.
 */
export class Rtc implements Device, SavableDevice<SavedRtc> {
  readonly name = 'rtc';
  readonly #cmos = new Uint8Array(128);
  #index = 0;
  #flags = 0;
  #epochSeconds: number;
  #epochNs = 0;
  #periodsSeen = 0;
  #secondsSeen: number;
  #irqEnabled = true;
  readonly #sourceNs: (() => number) | undefined;
  #guestClock!: Clock;
  /** What drives the RTC: the guest's clock, or one that shows another time. */
  #clock!: Clock;
  #irq!: Line;
  #timer!: Timer;

  constructor(options: RtcOptions = {}) {
    this.#sourceNs = options.sourceNs;
    this.#epochSeconds = this.#secondsSeen = Math.floor(options.epochSeconds ?? 0);
    this.#cmos[RtcIndex.A] = RegA.DIVIDER_32KHZ | 6;
    this.#cmos[RtcIndex.B] = RegB.HOURS_24;
    this.#cmos[RtcIndex.D] = REG_D_VALID;
    this.#describeMachine(options);
  }

  attach(wiring: Wiring): void {
    this.#guestClock = wiring.clock;
    this.#clock = this.#sourceNs ? new SourceClock(wiring.clock, this.#sourceNs) : wiring.clock;
    this.#irq = wiring.line('isa:8');
    this.#timer = this.#clock.createTimer('rtc', () => this.#update());
    wiring.pio(
      byteRegion(
        'rtc',
        RtcPort.INDEX,
        2,
        (offset) => (offset === 0 ? 0xff : this.#read()),
        (offset, value) => this.#write(offset, value),
      ),
    );
  }

  /** RESET leaves the time alone and disables the interrupts. */
  reset(): void {
    this.#index = 0;
    this.#cmos[RtcIndex.B] &= ~(RegB.PIE | RegB.AIE | RegB.UIE);
    this.#flags = 0;
    this.#irqEnabled = true;
    this.#update();
  }

  /** HPET's legacy replacement takes `isa:8` away from the RTC. */
  setInterruptEnabled(enabled: boolean): void {
    this.#irqEnabled = enabled;
    this.#drive();
  }

  /** Sets one CMOS RAM byte (index 0 to 127), as firmware would. */
  setByte(index: number, value: number): void {
    this.#cmos[index & 0x7f] = value;
  }

  /** In terms of the guest's clock, which goes on where the state is loaded. */
  save(): SavedRtc {
    const lead = this.#leadNs();
    // Whole seconds move, so that the point in time is none before power-on.
    const moved = Math.max(0, Math.ceil((lead - this.#epochNs) / SECOND));
    return {
      cmos: [...this.#cmos],
      index: this.#index,
      flags: this.#flags,
      epochSeconds: this.#epochSeconds + moved,
      epochNs: this.#epochNs - lead + moved * SECOND,
      periodsSeen: Math.max(0, this.#periodsSeen - this.#periodsBetween(lead)),
      secondsSeen: this.#secondsSeen,
    };
  }

  load(saved: unknown): void {
    const state = rtcSchema.check(saved, this.name);
    const lead = this.#leadNs();
    this.#cmos.set(state.cmos);
    this.#index = state.index;
    this.#flags = state.flags;
    this.#epochSeconds = state.epochSeconds;
    this.#epochNs = state.epochNs + lead;
    this.#periodsSeen = state.periodsSeen + this.#periodsBetween(lead);
    this.#secondsSeen = state.secondsSeen;
    this.#drive();
  }

  /** How far its clock is ahead of the guest's. */
  #leadNs(): number {
    return this.#sourceNs ? this.#clock.nowNs() - this.#guestClock.nowNs() : 0;
  }

  #periodsBetween(leadNs: number): number {
    return leadNs === 0 ? 0 : this.#periods() - this.#periods(this.#guestClock);
  }

  #describeMachine({ lowMemoryBytes = 640 * 1024, highMemoryBytes = 0, cpus = 1 }: RtcOptions): void {
    const word = (index: number, value: number) => {
      this.#cmos[index] = value;
      this.#cmos[index + 1] = value >> 8;
    };
    const extendedKib = Math.min(Math.max(lowMemoryBytes / 1024 - 1024, 0), 0xffff);
    word(0x15, 640);
    word(0x17, extendedKib);
    word(0x30, extendedKib);
    word(0x34, Math.min(Math.max(lowMemoryBytes / 65_536 - 256, 0), 0xffff));
    const high = highMemoryBytes / 65_536;
    word(0x5b, high & 0xffff);
    this.#cmos[0x5d] = high / 65_536;
    this.#cmos[0x5f] = cpus - 1;
    this.#cmos[0x14] = 0x06;
    storeTime(this.#cmos, this.#epochSeconds);
  }

  #running(): boolean {
    return (this.#cmos[RtcIndex.B] & RegB.SET) === 0 && (this.#cmos[RtcIndex.A] & RegA.DIVIDER) <= RegA.DIVIDER_32KHZ;
  }

  #seconds(): number {
    return this.#epochSeconds + Math.floor((this.#clock.nowNs() - this.#epochNs) / SECOND);
  }

  /** Ns since the last whole second of the clock. */
  #phase(): number {
    return (((this.#clock.nowNs() - this.#epochNs) % SECOND) + SECOND) % SECOND;
  }

  #read(): number {
    const index = this.#index;
    switch (index) {
      case RtcIndex.A:
        return (this.#cmos[index] & ~RegA.UIP) | (this.#running() && this.#phase() >= SECOND - UIP_NS ? RegA.UIP : 0);
      case RtcIndex.C:
        return this.#readFlags();
      default:
        if (isTime(index) && this.#running()) storeTime(this.#cmos, this.#seconds());
        return this.#cmos[index];
    }
  }

  #readFlags(): number {
    this.#collect();
    const flags = this.#flags & this.#cmos[RtcIndex.B] & RegC.CAUSES ? this.#flags | RegC.IRQF : this.#flags;
    this.#flags = 0;
    this.#drive();
    return flags;
  }

  #write(offset: number, value: number): void {
    if (offset === 0) {
      this.#index = value & 0x7f;
      return;
    }
    this.#collect();
    const index = this.#index;
    if (index === RtcIndex.A || index === RtcIndex.B) this.#writeControl(index, value);
    else if (isTime(index)) this.#writeTime(index, value);
    else if (index !== RtcIndex.C && index !== RtcIndex.D) this.#cmos[index] = value;
    this.#drive();
  }

  #writeControl(index: number, value: number): void {
    const wasRunning = this.#running();
    const wasHeld = (this.#cmos[RtcIndex.A] & RegA.DIVIDER) >= RegA.DIVIDER_RESET;
    if (wasRunning) storeTime(this.#cmos, this.#seconds());
    const seconds = wasRunning ? this.#seconds() : loadTime(this.#cmos);
    this.#cmos[index] = index === RtcIndex.A ? value & ~RegA.UIP : value;
    const held = (this.#cmos[RtcIndex.A] & RegA.DIVIDER) >= RegA.DIVIDER_RESET;
    // The data sheet: the first update comes half a second after the divider chain leaves reset.
    const phase = wasHeld && !held ? SECOND / 2 : this.#phase();
    if (!wasRunning || wasHeld !== held) this.#restart(wasRunning ? seconds : loadTime(this.#cmos), phase);
    this.#periodsSeen = this.#periods();
  }

  #writeTime(index: number, value: number): void {
    const running = this.#running();
    if (running) storeTime(this.#cmos, this.#seconds());
    this.#cmos[index] = value;
    if (running) this.#restart(loadTime(this.#cmos), this.#phase());
  }

  #restart(seconds: number, phase: number): void {
    this.#epochSeconds = this.#secondsSeen = seconds;
    this.#epochNs = this.#clock.nowNs() - phase;
  }

  /** Length of a periodic-interrupt period in oscillator ticks; 0 for none. */
  #periodTicks(): number {
    const rate = this.#cmos[RtcIndex.A] & RegA.RATE;
    if (rate === 0 || (this.#cmos[RtcIndex.A] & RegA.DIVIDER) > RegA.DIVIDER_32KHZ) return 0;
    return 1 << ((rate <= 2 ? rate + 7 : rate) - 1);
  }

  #periods(clock = this.#clock): number {
    const period = this.#periodTicks();
    return period === 0 ? 0 : Math.floor(nsToTicks(clock.nowNs(), OSCILLATOR_HZ) / period);
  }

  /** Sets the flags of what has happened since they were last looked at. */
  #collect(): void {
    const periods = this.#periods();
    if (periods > this.#periodsSeen) this.#flags |= RegC.PF;
    this.#periodsSeen = periods;
    if (!this.#running()) return;
    const seconds = this.#seconds();
    if (seconds > this.#secondsSeen) {
      this.#flags |= RegC.UF;
      if (nextAlarm(this.#cmos, this.#secondsSeen) <= seconds) this.#flags |= RegC.AF;
    }
    this.#secondsSeen = seconds;
  }

  #update(): void {
    this.#collect();
    this.#drive();
  }

  /** Sets the line from the flags, and the timer for enabled causes that have not happened yet. */
  #drive(): void {
    const enabled = this.#irqEnabled ? this.#cmos[RtcIndex.B] & RegC.CAUSES : 0;
    this.#irq.set(this.#flags & enabled ? 1 : 0);
    const waiting = enabled & ~this.#flags;
    let next = Infinity;
    const period = this.#periodTicks();
    if (waiting & RegB.PIE && period !== 0) next = ticksToNs((this.#periodsSeen + 1) * period, OSCILLATOR_HZ);
    if (this.#running()) {
      const at = (seconds: number) => this.#epochNs + (seconds - this.#epochSeconds) * SECOND;
      if (waiting & RegB.UIE) next = Math.min(next, at(this.#secondsSeen + 1));
      if (waiting & RegB.AIE) next = Math.min(next, at(nextAlarm(this.#cmos, this.#secondsSeen)));
    }
    if (next === Infinity) this.#timer.cancel();
    else this.#timer.arm(next);
  }
}

/** Whether a CMOS index is one of the running clock's registers (not an alarm). */
const isTime = (index: number): boolean =>
  index === RtcIndex.CENTURY || (index >= RtcIndex.WEEKDAY && index <= RtcIndex.YEAR) || index === 0 || index === 2 || index === 4;
