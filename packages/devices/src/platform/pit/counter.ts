import { Access, ReadBack, Status } from './registers.js';
import type { SavedPitCounter } from './state.js';

/**
 * One counter of the 8254 as a function of time: nothing runs between accesses. `elapsed` is the number of clock pulses counted since the count was loaded
 * (modes 1 and 5: since the trigger); the count, OUT and the next change of OUT follow from it.
 */
export class PitCounter {
  mode = 3;
  access: number = Access.BOTH;
  bcd = false;
  gate = true;
  /** A count has been written since the control word. */
  loaded = false;
  /** Pulses are being counted: gate permits, and modes 1 and 5 have been triggered. */
  running = false;
  /** Count in force, 1 to 65536. */
  initial = 65536;
  /** Modes 2 and 3: a count that takes over when `elapsed` reaches `switchAt`; modes 1 and 5: at the next trigger. 0 for none. */
  next = 0;
  switchAt = 0;
  /** Pulses counted before `startTick`. */
  base = 0;
  startTick = 0;
  writeHigh = false;
  readHigh = false;
  writeLow = 0;
  countLatch = -1;
  /** Bytes of the latched count still to be read. */
  latchBytes = 0;
  statusLatch = -1;

  /** `nowTicks` tells the number of clock pulses since power-on. */
  constructor(readonly nowTicks: () => number) {}

  /** Level of the OUT pin. */
  out(): 0 | 1 {
    const elapsed = this.#elapsed();
    switch (this.mode) {
      case 0:
        return this.loaded && elapsed >= this.initial ? 1 : 0;
      case 1:
        return this.running && elapsed < this.initial ? 0 : 1;
      case 2:
        return this.running && this.loaded && elapsed % this.initial === this.initial - 1 ? 0 : 1;
      case 3:
        return this.running && this.loaded && elapsed % this.initial >= (this.initial + 1) >> 1 ? 0 : 1;
      default:
        return this.running && this.loaded && elapsed === this.initial ? 0 : 1;
    }
  }

  /** Tick of the next rising edge of OUT, or Infinity. */
  nextRise(): number {
    if (!this.running || !this.loaded) return Infinity;
    const elapsed = this.#elapsed();
    const { initial, startTick, base } = this;
    const tickOf = (target: number) => startTick + (target - base);
    if (this.mode === 2 || this.mode === 3) {
      return tickOf(this.next !== 0 && this.switchAt > elapsed ? this.switchAt : (Math.floor(elapsed / initial) + 1) * initial);
    }
    const target = this.mode >= 4 ? initial + 1 : initial;
    return elapsed < target ? tickOf(target) : Infinity;
  }

  setGate(level: boolean): void {
    if (level === this.gate) return;
    this.#freeze();
    this.gate = level;
    if (level && this.mode !== 0 && this.mode !== 4) this.#trigger();
    else if (this.mode !== 1 && this.mode !== 5) this.#start(level && this.loaded);
    else this.#start(this.loaded && this.running);
  }

  /** The control word for this counter (not the latch command). */
  control(value: number): void {
    this.mode = (value >> 1) & 7;
    if (this.mode > 5) this.mode -= 4;
    this.access = (value >> 4) & 3;
    this.bcd = (value & 1) !== 0;
    this.loaded = this.running = false;
    this.next = 0;
    this.base = 0;
    this.writeHigh = this.readHigh = false;
    this.countLatch = this.statusLatch = -1;
    this.latchBytes = 0;
  }

  /** The counter-latch command. */
  latchCount(): void {
    if (this.latchBytes > 0) return;
    this.countLatch = this.#encoded();
    this.latchBytes = this.access === Access.BOTH ? 2 : 1;
    this.readHigh = false;
  }

  /** The read-back command; `value` is the command byte. */
  readBack(value: number): void {
    if (!(value & ReadBack.NO_STATUS) && this.statusLatch < 0) this.statusLatch = this.status();
    if (!(value & ReadBack.NO_COUNT)) this.latchCount();
  }

  status(): number {
    const pending = this.next !== 0 && !this.#switched();
    const nullCount = !this.loaded || pending ? Status.NULL_COUNT : 0;
    return (this.out() ? Status.OUT : 0) | nullCount | (this.access << 4) | (this.mode << 1) | (this.bcd ? 1 : 0);
  }

  read(): number {
    if (this.statusLatch >= 0) {
      const status = this.statusLatch;
      this.statusLatch = -1;
      return status;
    }
    const value = this.latchBytes > 0 ? this.countLatch : this.#encoded();
    const high = this.access === Access.HIGH || (this.access === Access.BOTH && this.readHigh);
    if (this.access === Access.BOTH) this.readHigh = !this.readHigh;
    if (this.latchBytes > 0) this.latchBytes--;
    return high ? value >> 8 : value & 0xff;
  }

  write(value: number): void {
    if (this.access === Access.LOW) this.#load(value);
    else if (this.access === Access.HIGH) this.#load(value << 8);
    else if (this.writeHigh) {
      this.writeHigh = false;
      this.#load((value << 8) | this.writeLow);
    } else {
      this.writeHigh = true;
      this.writeLow = value;
      if (this.mode === 0) this.#suspend();
    }
  }

  save(): SavedPitCounter {
    const { mode, access, bcd, gate, loaded, running, initial, next, switchAt, base, startTick } = this;
    const { writeHigh, readHigh, writeLow, countLatch, latchBytes, statusLatch } = this;
    const counting = { mode, access, bcd, gate, loaded, running, initial, next, switchAt, base, startTick };
    return { ...counting, writeHigh, readHigh, writeLow, countLatch, latchBytes, statusLatch };
  }

  load(saved: SavedPitCounter): void {
    Object.assign(this, saved);
  }

  #load(raw: number): void {
    const value = this.bcd ? fromBcd(raw) || 10_000 : raw || 65_536;
    const wasLoaded = this.loaded;
    this.loaded = true;
    if (this.mode === 1 || this.mode === 5) {
      if (wasLoaded) this.next = value;
      else this.initial = value;
      return;
    }
    if ((this.mode === 2 || this.mode === 3) && wasLoaded && this.running) {
      const elapsed = this.#elapsed();
      this.switchAt = (Math.floor(elapsed / this.initial) + 1) * this.initial;
      this.next = value;
      return;
    }
    this.initial = value;
    this.next = 0;
    this.base = 0;
    this.#start(this.gate);
  }

  #trigger(): void {
    if (this.next !== 0) this.initial = this.next;
    this.next = 0;
    this.base = 0;
    this.#start(this.loaded);
  }

  /** Mode 0: writing the first of two bytes stops the count and takes OUT low. */
  #suspend(): void {
    this.base = 0;
    this.running = false;
    this.loaded = false;
  }

  #start(running: boolean): void {
    this.running = running;
    this.startTick = this.nowTicks();
  }

  #freeze(): void {
    this.base = this.#elapsed();
    this.startTick = this.nowTicks();
  }

  #switched(): boolean {
    this.#elapsed();
    return this.next === 0;
  }

  #elapsed(): number {
    if (!this.running) return this.base;
    let elapsed = this.base + (this.nowTicks() - this.startTick);
    if (this.next !== 0 && (this.mode === 2 || this.mode === 3) && elapsed >= this.switchAt) {
      this.base -= this.switchAt;
      elapsed -= this.switchAt;
      this.initial = this.next;
      this.next = 0;
    }
    return elapsed;
  }

  /** The counting element as a 16-bit number that a program reads. */
  #encoded(): number {
    const modulus = this.bcd ? 10_000 : 65_536;
    const value = this.#current() % modulus;
    return this.bcd ? toBcd(value) : value;
  }

  #current(): number {
    const elapsed = this.#elapsed();
    const modulus = this.bcd ? 10_000 : 65_536;
    switch (this.mode) {
      case 2:
        return this.initial - (elapsed % this.initial);
      case 3:
        return threeAt(this.initial, elapsed % this.initial);
      default:
        return (((this.initial - elapsed) % modulus) + modulus) % modulus;
    }
  }
}

/** Mode 3 counts by two, twice per period; an odd count starts one lower in its high half and one lower again in its low half. */
function threeAt(initial: number, phase: number): number {
  const half = (initial + 1) >> 1;
  const even = initial & ~1;
  const within = phase < half ? phase : phase - half;
  return Math.max(even - 2 * within, 0);
}

const fromBcd = (value: number): number => (value >> 12) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);
const toBcd = (value: number): number =>
  (Math.floor(value / 1000) << 12) | ((Math.floor(value / 100) % 10) << 8) | ((Math.floor(value / 10) % 10) << 4) | (value % 10);
