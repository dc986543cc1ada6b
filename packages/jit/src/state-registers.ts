import type { Val } from '@nestvm/emit';

/** How registers are read from the vCPU's state and written to it. */
export interface StateAccess {
  load(offset: number): Val<64>;
  store(offset: number, value: Val<64>): void;
}

/**
 * Integer registers that stay in the vCPU's state while a region is written: one is loaded where a value is wanted that is not at hand, and what is written is stored before code that may
 * leave or that may be reached in another way. So ways out have nothing to carry there, and places where ways meet none of the registers.
 */
export class StateRegisters {
  /** Values that are at hand, by the registers' offsets, and which of them are still to be stored. */
  private held = new Map<number, Val<64>>();
  private readonly unsaved = new Set<number>();

  constructor(private readonly state: StateAccess) {}

  /** Starts a block, with what is at hand where it is reached from. */
  resume(held: ReadonlyMap<number, Val<64>> | undefined): void {
    this.held = new Map(held);
    this.unsaved.clear();
  }

  /** What is at hand here, for a block that is reached from here alone. */
  get known(): ReadonlyMap<number, Val<64>> {
    return new Map(this.held);
  }

  /** Value of the register at an offset. In conditional code it may be loaded where others do not find it. */
  get(offset: number, isConditional: boolean): Val<64> {
    const held = this.held.get(offset);
    if (held !== undefined) return held;
    const value = this.state.load(offset);
    if (!isConditional) this.held.set(offset, value);
    return value;
  }

  set(offset: number, value: Val<64>, isConditional: boolean): void {
    if (isConditional) {
      this.held.delete(offset);
      return this.state.store(offset, value);
    }
    this.held.set(offset, value);
    this.unsaved.add(offset);
  }

  /** Stores what has not been stored yet. */
  save(): void {
    this.saveAside();
    this.unsaved.clear();
  }

  /** The same in code that leaves, which says nothing about what is stored elsewhere. */
  saveAside(): void {
    for (const offset of this.unsaved) this.state.store(offset, this.held.get(offset)!);
  }

  /** Stores all and keeps nothing at hand: what follows is done again and again. */
  forget(): void {
    this.save();
    this.held.clear();
  }
}
