import type { Clock, Device, Line, Timer, Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { dwordRegion } from '../byte-region.js';
import {
  HPET_CAPABILITIES_HIGH,
  HPET_CAPABILITIES_LOW,
  HPET_PERIOD_NS,
  HPET_TIMERS,
  HpetConfig,
  HpetPort,
  HpetRegister,
  TimerConfig,
} from './registers.js';
import { hpetSchema, type SavedHpet } from './state.js';

const TWO_32 = 2 ** 32;
/** Shortest distance between two interrupts of one timer, in counter ticks: a guest cannot stop the machine with a period of 1. */
const SHORTEST_TICKS = 200;

/** How an HPET is plugged in. */
export interface HpetOptions {
  /** GSIs that a timer may be routed to, as a bit mask (default 0xff0104: 2, 8, 16-23; i440FX boards: 4). */
  readonly routes?: number;
  /** Told when legacy replacement starts or ends: the board then silences PIT and RTC (`setInterruptEnabled`). */
  readonly onLegacyReplacement?: (enabled: boolean) => void;
}

/** One comparator. 64-bit values are pairs of unsigned halves. */
class Comparator {
  config = 0;
  low = 0xffff_ffff;
  high = 0xffff_ffff;
  periodLow = 0;
  periodHigh = 0;
  /** The low half was written with SET_VALUE, and the high half has not been written since. */
  highFollows = false;
  timer!: Timer;

  get is32(): boolean {
    return (this.config & TimerConfig.FORCE_32) !== 0;
  }

  get periodic(): boolean {
    return (this.config & TimerConfig.PERIODIC) !== 0;
  }

  get period(): number {
    return this.is32 ? this.periodLow : this.periodHigh * TWO_32 + this.periodLow;
  }
}

/** The high-precision event timer at 100 MHz with three 64-bit comparators, all able to be periodic ("IA-PC HPET Specification"). */
export class Hpet implements Device, SavableDevice<SavedHpet> {
  readonly name = 'hpet';
  readonly #routes: number;
  readonly #onLegacy: (enabled: boolean) => void;
  readonly #timers = Array.from({ length: HPET_TIMERS }, () => new Comparator());
  readonly #lines: Line[] = [];
  readonly #legacyLines: Line[] = [];
  #config = 0;
  /** Level-triggered timers whose interrupt is active. */
  #status = 0;
  /** The main counter when it was last stopped or written, and the tick of the clock at which it was started. */
  #counterLow = 0;
  #counterHigh = 0;
  #startTick = 0;
  #clock!: Clock;

  constructor(options: HpetOptions = {}) {
    this.#routes = options.routes ?? 0xff_0104;
    this.#onLegacy = options.onLegacyReplacement ?? (() => {});
  }

  attach(wiring: Wiring): void {
    this.#clock = wiring.clock;
    for (let gsi = 0; gsi < 24; gsi++) this.#lines.push(wiring.line(`gsi:${gsi}`));
    this.#legacyLines.push(wiring.line('isa:0'), wiring.line('isa:8'));
    this.#timers.forEach((comparator, index) => {
      comparator.timer = wiring.clock.createTimer(`hpet ${index}`, () => this.#expire(index));
    });
    const read = (offset: number) => this.#read(offset);
    wiring.mmio(
      dwordRegion(
        this.name,
        HpetPort.BASE,
        HpetPort.SIZE,
        read,
        (offset, value) => this.#write(offset, value),
        (offset) => this.#peek(offset),
      ),
    );
  }

  reset(): void {
    this.#config = this.#status = this.#counterLow = this.#counterHigh = 0;
    for (const comparator of this.#timers) {
      comparator.config = comparator.periodLow = comparator.periodHigh = 0;
      comparator.low = comparator.high = 0xffff_ffff;
      comparator.highFollows = false;
      comparator.timer.cancel();
    }
    for (const line of [...this.#lines, ...this.#legacyLines]) line.set(0);
    this.#onLegacy(false);
  }

  save(): SavedHpet {
    return {
      config: this.#config,
      status: this.#status,
      counterLow: this.#counterLow,
      counterHigh: this.#counterHigh,
      startTick: this.#startTick,
      timers: this.#timers.map(({ config, low, high, periodLow, periodHigh, highFollows }) => {
        return { config, comparatorLow: low, comparatorHigh: high, periodLow, periodHigh, highFollows };
      }),
    };
  }

  load(saved: unknown): void {
    const state = hpetSchema.check(saved, this.name);
    this.#config = state.config;
    this.#status = state.status;
    this.#counterLow = state.counterLow;
    this.#counterHigh = state.counterHigh;
    this.#startTick = state.startTick;
    state.timers.forEach((timer, index) => {
      const comparator = this.#timers[index];
      comparator.config = timer.config & TimerConfig.WRITABLE;
      comparator.low = timer.comparatorLow;
      comparator.high = timer.comparatorHigh;
      comparator.periodLow = timer.periodLow;
      comparator.periodHigh = timer.periodHigh;
      comparator.highFollows = timer.highFollows;
    });
    this.#onLegacy(this.#legacy);
    this.#driveLevels();
    for (const comparator of this.#timers) this.#arm(comparator);
  }

  get #enabled(): boolean {
    return (this.#config & HpetConfig.ENABLE) !== 0;
  }

  get #legacy(): boolean {
    return (this.#config & HpetConfig.LEGACY) !== 0;
  }

  /** Ticks since the counter was started. */
  #elapsed(): number {
    return this.#enabled ? Math.floor(this.#clock.nowNs() / HPET_PERIOD_NS) - this.#startTick : 0;
  }

  #currentLow(): number {
    return (this.#counterLow + this.#elapsed()) % TWO_32;
  }

  #currentHigh(): number {
    return (this.#counterHigh + Math.floor((this.#counterLow + this.#elapsed()) / TWO_32)) % TWO_32;
  }

  /** Distance from the counter to a comparator in ticks, modulo 2^64 or 2^32: 0 to 2^64 (inexact beyond 2^53, where it never matters). */
  #distance(comparator: Comparator): number {
    const low = comparator.low - this.#currentLow();
    if (comparator.is32) return low < 0 ? low + TWO_32 : low;
    let high = comparator.high - this.#currentHigh() - (low < 0 ? 1 : 0);
    if (high < 0) high += TWO_32;
    return high * TWO_32 + (low < 0 ? low + TWO_32 : low);
  }

  #freeze(): void {
    const high = this.#currentHigh();
    this.#counterLow = this.#currentLow();
    this.#counterHigh = high;
    this.#startTick = Math.floor(this.#clock.nowNs() / HPET_PERIOD_NS);
  }

  #read(offset: number): number {
    switch (offset) {
      case HpetRegister.CAPABILITIES:
        return HPET_CAPABILITIES_LOW;
      case HpetRegister.CAPABILITIES + 4:
        return HPET_CAPABILITIES_HIGH;
      case HpetRegister.CONFIGURATION:
        return this.#config;
      case HpetRegister.STATUS:
        return this.#status;
      case HpetRegister.COUNTER:
        return this.#currentLow();
      case HpetRegister.COUNTER + 4:
        return this.#currentHigh();
    }
    const index = (offset - HpetRegister.TIMERS) >> 5;
    if (index < 0 || index >= HPET_TIMERS) return 0;
    const comparator = this.#timers[index];
    switch (offset & 0x1f) {
      case 0x00:
        return comparator.config | TimerConfig.CAN_BE_PERIODIC | TimerConfig.CAN_BE_64;
      case 0x04:
        return this.#routes;
      case 0x08:
        return comparator.low;
      case 0x0c:
        return comparator.is32 ? 0 : comparator.high;
      default:
        return 0;
    }
  }

  /** What a narrow write is merged into: as read, but the status bits read 0, since writing 1 clears them. */
  #peek(offset: number): number {
    return offset === HpetRegister.STATUS ? 0 : this.#read(offset);
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case HpetRegister.CONFIGURATION:
        return this.#writeConfig(value);
      case HpetRegister.STATUS:
        this.#status &= ~value;
        return this.#driveLevels();
      case HpetRegister.COUNTER:
      case HpetRegister.COUNTER + 4:
        this.#freeze();
        if (offset === HpetRegister.COUNTER) this.#counterLow = value;
        else this.#counterHigh = value;
        for (const comparator of this.#timers) this.#arm(comparator);
        return;
    }
    const index = (offset - HpetRegister.TIMERS) >> 5;
    if (index >= 0 && index < HPET_TIMERS) this.#writeTimer(this.#timers[index], offset & 0x1f, value, index);
  }

  #writeConfig(value: number): void {
    const legacyChanged = ((value ^ this.#config) & HpetConfig.LEGACY) !== 0;
    this.#freeze();
    this.#config = value & (HpetConfig.ENABLE | HpetConfig.LEGACY);
    if (legacyChanged) this.#onLegacy(this.#legacy);
    this.#driveLevels();
    for (const comparator of this.#timers) this.#arm(comparator);
  }

  #writeTimer(comparator: Comparator, register: number, value: number, index: number): void {
    switch (register) {
      case 0x00:
        comparator.config = value & TimerConfig.WRITABLE;
        if (!(value & TimerConfig.LEVEL)) this.#status &= ~(1 << index);
        if (comparator.is32) comparator.high = comparator.periodHigh = 0;
        this.#driveLevels();
        break;
      case 0x08:
        this.#writeComparatorLow(comparator, value);
        break;
      case 0x0c:
        if (!comparator.is32) this.#writeComparatorHigh(comparator, value);
        break;
    }
    this.#arm(comparator);
  }

  /** In periodic mode a write sets the period, and with SET_VALUE the comparator as well. */
  #writeComparatorLow(comparator: Comparator, value: number): void {
    const setting = !comparator.periodic || (comparator.config & TimerConfig.SET_VALUE) !== 0;
    if (setting) comparator.low = value;
    if (comparator.periodic) comparator.periodLow = value;
    // A 64-bit write arrives in halves: what its low half set, its high half sets too.
    comparator.highFollows = setting;
    comparator.config &= ~TimerConfig.SET_VALUE;
  }

  #writeComparatorHigh(comparator: Comparator, value: number): void {
    if (!comparator.periodic || comparator.highFollows || comparator.config & TimerConfig.SET_VALUE) comparator.high = value;
    if (comparator.periodic) comparator.periodHigh = value;
    comparator.highFollows = false;
    comparator.config &= ~TimerConfig.SET_VALUE;
  }

  #arm(comparator: Comparator): void {
    if (!this.#enabled || !(comparator.config & TimerConfig.ENABLE)) return comparator.timer.cancel();
    const distance = this.#distance(comparator);
    if (distance > 2 ** 50) return comparator.timer.cancel();
    const shortest = comparator.periodic && comparator.period < SHORTEST_TICKS ? SHORTEST_TICKS : 0;
    const nowTick = Math.floor(this.#clock.nowNs() / HPET_PERIOD_NS);
    comparator.timer.arm((nowTick + Math.max(distance, shortest)) * HPET_PERIOD_NS);
  }

  #expire(index: number): void {
    const comparator = this.#timers[index];
    if (comparator.periodic && comparator.period > 0) this.#advance(comparator);
    this.#interrupt(index);
    // One-shot: the next match is a whole turn of the counter away, which matters for 32 bits only.
    if (comparator.periodic ? comparator.period > 0 : comparator.is32) this.#armBeyond(comparator);
  }

  #armBeyond(comparator: Comparator): void {
    if (this.#distance(comparator) > 0) this.#arm(comparator);
    else comparator.timer.arm(this.#clock.nowNs() + (comparator.is32 ? TWO_32 : SHORTEST_TICKS) * HPET_PERIOD_NS);
  }

  /** Adds periods to the comparator until it lies ahead of the counter. */
  #advance(comparator: Comparator): void {
    const modulus = comparator.is32 ? TWO_32 : 2 ** 64;
    const behind = (modulus - this.#distance(comparator)) % modulus;
    const steps = behind < 2 ** 50 ? Math.floor(behind / comparator.period) + 1 : 1;
    const at = (BigInt(comparator.high) << 32n) + BigInt(comparator.low) + BigInt(steps) * BigInt(comparator.period);
    comparator.low = Number(at & 0xffff_ffffn);
    if (!comparator.is32) comparator.high = Number((at >> 32n) & 0xffff_ffffn);
  }

  #interrupt(index: number): void {
    const comparator = this.#timers[index];
    if (comparator.config & TimerConfig.LEVEL) {
      this.#status |= 1 << index;
      this.#driveLevels();
      return;
    }
    const line = this.#line(index);
    line?.set(1);
    line?.set(0);
  }

  /** The line a timer drives: in legacy replacement timers 0 and 1 have IRQ 0 and IRQ 8. */
  #line(index: number): Line | undefined {
    if (this.#legacy && index < 2) return this.#legacyLines[index];
    const route = (this.#timers[index].config & TimerConfig.ROUTE) >> 9;
    return this.#routes & (1 << route) ? this.#lines[route] : undefined;
  }

  #driveLevels(): void {
    const active = new Set<Line>();
    this.#timers.forEach((comparator, index) => {
      const line = this.#line(index);
      const enabled = (comparator.config & TimerConfig.ENABLE) !== 0 && this.#enabled;
      if (this.#status & (1 << index) && comparator.config & TimerConfig.LEVEL && enabled && line) active.add(line);
    });
    for (const line of [...this.#lines, ...this.#legacyLines]) line.set(active.has(line) ? 1 : 0);
  }
}
