const SLOTS = 4;

/** Linear pages that never enter the read and write TLB, because a data breakpoint lies in them: one slot for each of DR0-DR3. */
export class LinearWatches {
  private readonly low = new Int32Array(SLOTS);
  private readonly high = new Int32Array(SLOTS);
  private armed = 0;

  /** `forget` drops the page of a linear address from the TLB; `changed` hears of every change. */
  constructor(
    private readonly forget: (lo: number, hi: number) => void,
    private readonly changed: () => void = () => undefined,
  ) {}

  /** Watches the page of a linear address (int32 halves) in a slot, 0 to 3. */
  arm(slot: number, lo: number, hi: number): void {
    this.low[slot] = lo & ~0xfff;
    this.high[slot] = hi;
    this.armed |= 1 << slot;
    this.forget(lo, hi);
    this.changed();
  }

  /** Empties a slot. */
  disarm(slot: number): void {
    if (((this.armed >>> slot) & 1) === 0) return;
    this.armed &= ~(1 << slot);
    this.changed();
  }

  /** True when no slot is armed. */
  get areDisarmed(): boolean {
    return this.armed === 0;
  }

  /** True when the page of this linear address is watched. */
  covers(lo: number, hi: number): boolean {
    if (this.armed === 0) return false;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (((this.armed >>> slot) & 1) !== 0 && this.low[slot] === (lo & ~0xfff) && this.high[slot] === hi) return true;
    }
    return false;
  }
}
