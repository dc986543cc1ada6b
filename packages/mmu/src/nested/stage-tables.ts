import type { PhysicalMemory } from '@nestvm/memory';
import type { StageWalk } from './stage-walk.js';

/** Reads and updates second-stage tables in physical memory; a table in a device's range reads what the device answers. */
export class StageTables {
  /** The entry that `load` or `load32` read: int32 halves. */
  low = 0;
  high = 0;

  constructor(readonly memory: PhysicalMemory) {}

  /** Reads the 8-byte entry at an aligned physical address. */
  load(address: number): void {
    const at = this.memory.arenaOffsetOf(address);
    if (at >= 0) {
      const { i32 } = this.memory.arena;
      this.low = i32[at >>> 2]!;
      this.high = i32[(at >>> 2) + 1]!;
      return;
    }
    this.low = this.memory.read32(address) | 0;
    this.high = this.memory.read32(address + 4) | 0;
  }

  /** Reads the 4-byte entry at an aligned physical address. */
  load32(address: number): void {
    this.low = this.memory.read32(address) | 0;
    this.high = 0;
  }

  /** Sets `accessed` in every entry of a walk, and `dirty` (0: not) in the leaf. False: an entry has changed since the walk; walk again. */
  mark(walk: StageWalk, accessed: number, dirty: number): boolean {
    for (let i = 0; i < walk.depth; i++) {
      const low = walk.low[i]!;
      const flags = i === walk.depth - 1 ? accessed | dirty : accessed;
      if ((low & flags) === flags) continue;
      if (!this.memory.compareExchange32(walk.address[i]!, low, low | flags)) return false;
      walk.low[i] = low | flags;
    }
    return true;
  }
}
