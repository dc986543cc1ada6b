import type { PhysicalMemory } from '@nestvm/memory';
import type { SecondStage } from '../second-stage.js';

/** Drops bit 20 of an address: what a closed A20 gate does. */
export const withoutA20 = (address: number): number => ((address >>> 20) & 1 ? address - 0x10_0000 : address);

/** Reads and updates the guest's paging structures, through the second stage and the A20 gate. */
export class Tables {
  /** The entry that `load` or `load32` read: int32 halves. */
  low = 0;
  high = 0;
  secondStage: SecondStage | null = null;
  a20Closed = false;
  /** Look without a trace in the second stage: for `peek`. */
  quiet = false;
  /** The second stage refused the last access. */
  refused = false;

  constructor(private readonly memory: PhysicalMemory) {}

  /** Reads the 8-byte entry at an aligned guest-physical address; false when the second stage refuses. */
  load(address: number): boolean {
    const physical = this.physical(address, false);
    if (physical < 0) return false;
    const at = this.memory.arenaOffsetOf(physical);
    if (at >= 0) {
      const { i32 } = this.memory.arena;
      const index = at / 4;
      this.low = i32[index]!;
      this.high = i32[index + 1]!;
    } else {
      this.low = this.memory.read32(physical) | 0;
      this.high = this.memory.read32(physical + 4) | 0;
    }
    return true;
  }

  /** Reads the 4-byte entry at an aligned guest-physical address; false when the second stage refuses. */
  load32(address: number): boolean {
    const physical = this.physical(address, false);
    if (physical < 0) return false;
    this.low = this.memory.read32(physical) | 0;
    this.high = 0;
    return true;
  }

  /** Sets flags in an entry that was `expected`: 1 done, 0 the entry has changed (walk again), -1 the second stage refuses. */
  update(address: number, expected: number, flags: number): number {
    const physical = this.physical(address, true);
    if (physical < 0) return -1;
    return this.memory.compareExchange32(physical, expected, expected | flags) ? 1 : 0;
  }

  private physical(address: number, write: boolean): number {
    const stage = this.secondStage;
    let physical = address;
    if (stage !== null) {
      physical = this.quiet ? stage.peek(address) : stage.table(address, write);
      this.refused = physical < 0;
    }
    return this.a20Closed && physical >= 0 ? withoutA20(physical) : physical;
  }
}
