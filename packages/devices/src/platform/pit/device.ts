import { type Clock, type Device, type Line, nsToTicks, type Timer, ticksToNs, type Wiring } from '@nestvm/bus';
import type { SavableDevice } from '../../saved-state.js';
import { byteRegion } from '../byte-region.js';
import { PitCounter } from './counter.js';
import { Access, PIT_HZ, PitPort, PortB, REFRESH_NS, ReadBack } from './registers.js';
import { pitSchema, type SavedPit } from './state.js';

/**
 * The 8254 interval timer and port 0x61 ("8254" data sheet). Counter 0 drives `isa:0`; counter 2's gate and output are in port 0x61. All counts are computed
 * from the clock at the moment they are asked for; only counter 0 has a timer, and only while its output has an edge to come and its interrupt is in use.
 */
export class Pit implements Device, SavableDevice<SavedPit> {
  readonly name = 'pit';
  readonly counters: readonly PitCounter[];
  #clock!: Clock;
  #irq!: Line;
  #timer!: Timer;
  #irqLevel: 0 | 1 = 0;
  #irqEnabled = true;
  #portB = 0;

  constructor() {
    const now = () => nsToTicks(this.#clock.nowNs(), PIT_HZ);
    this.counters = [new PitCounter(now), new PitCounter(now), new PitCounter(now)];
  }

  attach(wiring: Wiring): void {
    this.#clock = wiring.clock;
    this.#irq = wiring.line('isa:0');
    this.#timer = wiring.clock.createTimer('pit', () => this.#edge());
    wiring.pio(
      byteRegion(
        'pit',
        PitPort.COUNTERS,
        4,
        (offset) => this.#read(offset),
        (offset, value) => this.#write(offset, value),
      ),
    );
    wiring.pio(
      byteRegion(
        'port-61',
        PitPort.PORT_B,
        1,
        () => this.#readPortB(),
        (_offset, value) => this.#writePortB(value),
      ),
    );
    this.reset();
  }

  reset(): void {
    for (const counter of this.counters) {
      counter.control(0x36);
      counter.gate = true;
    }
    this.#portB = 0;
    this.counters[2].setGate(false);
    this.#irqEnabled = true;
    this.#reschedule();
  }

  /** HPET's legacy replacement takes `isa:0` away from counter 0. */
  setInterruptEnabled(enabled: boolean): void {
    this.#irqEnabled = enabled;
    this.#reschedule();
  }

  save(): SavedPit {
    return { counters: this.counters.map((counter) => counter.save()), portB: this.#portB, irqEnabled: this.#irqEnabled, irqLevel: this.#irqLevel };
  }

  load(saved: unknown): void {
    const state = pitSchema.check(saved, this.name);
    this.counters.forEach((counter, index) => counter.load(state.counters[index]));
    this.#portB = state.portB;
    this.#irqEnabled = state.irqEnabled;
    this.#reschedule();
    this.#setIrq(state.irqLevel as 0 | 1);
  }

  #read(offset: number): number {
    return offset === PitPort.CONTROL ? 0xff : this.counters[offset].read();
  }

  #write(offset: number, value: number): void {
    if (offset === PitPort.CONTROL) this.#writeControl(value);
    else this.counters[offset].write(value);
    this.#reschedule();
  }

  #writeControl(value: number): void {
    const select = value >> 6;
    if (select === 3) {
      for (let i = 0; i < 3; i++) if (value & (2 << i)) this.counters[i].readBack(value & (ReadBack.NO_COUNT | ReadBack.NO_STATUS));
    } else if (((value >> 4) & 3) === Access.LATCH) this.counters[select].latchCount();
    else this.counters[select].control(value);
  }

  #readPortB(): number {
    const refresh = Math.floor(this.#clock.nowNs() / REFRESH_NS) & 1 ? PortB.REFRESH : 0;
    return this.#portB | refresh | (this.counters[2].out() ? PortB.OUT2 : 0);
  }

  #writePortB(value: number): void {
    this.#portB = value & PortB.WRITABLE;
    this.counters[2].setGate((value & PortB.GATE2) !== 0);
  }

  /** A rising edge of counter 0 has come: at most one per turn, however many periods have passed (the PIC would latch one only). */
  #edge(): void {
    this.#setIrq(0);
    this.#setIrq(1);
    this.#arm();
  }

  /** After any access: the line shows OUT as it is now (a low pulse of one tick in modes 2, 4 and 5 is only made when its end fires). */
  #reschedule(): void {
    const counter = this.counters[0];
    const rises = this.#arm();
    // Time may go on between two looks at the counter: OUT is low as long as its rise is still to be made.
    const level = counter.mode >= 2 ? this.#irqLevel : rises ? 0 : counter.out();
    this.#setIrq(this.#irqEnabled ? level : 0);
  }

  /** Arms the timer for the next rise of OUT; false when there is none. */
  #arm(): boolean {
    const rise = this.#irqEnabled ? this.counters[0].nextRise() : Infinity;
    if (rise === Infinity) this.#timer.cancel();
    else this.#timer.arm(ticksToNs(rise, PIT_HZ));
    return rise !== Infinity;
  }

  #setIrq(level: 0 | 1): void {
    this.#irqLevel = level;
    this.#irq.set(level);
  }
}
