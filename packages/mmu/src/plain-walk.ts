import type { Arena, MemoryRange, PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES } from '@nestvm/memory';
import { struct, u32 } from '@nestvm/state';
import { Context, Paging } from './context.js';

/**
 * What generated code must know to walk the tables of 4-level and 5-level paging by itself, where that needs nothing else: `walk` of the vCPU state holds the place of this struct while
 * it may, else 0. Ranges of RAM are in pages: first guest-physical page, how many, first arena page; tables and pages elsewhere are TypeScript's.
 */
export const plainWalk = struct('plain walk', 1, {
  /** The `Context` word in force. */
  context: u32,
  /** Bits of an entry's high half that must be 0. */
  reserved: u32,
  /** Arena offsets of the journal of the bank in force, and of the page flags. */
  journal: u32,
  pageFlags: u32,
  lowFirst: u32,
  lowCount: u32,
  lowArena: u32,
  highFirst: u32,
  highCount: u32,
  highArena: u32,
});

const at = plainWalk.offset;
/** Of PKRU or PKRS: what they say about key 0. */
const KEY_0 = 3;

/** Keeps the struct up to date. */
export class PlainWalk {
  private readonly i32: Int32Array;
  private readonly first: number;

  constructor(
    arena: Arena,
    private readonly memory: PhysicalMemory,
    /** Whether walks of this MMU may be left to generated code at all. */
    private readonly isPossible: boolean,
  ) {
    this.i32 = arena.i32;
    this.first = arena.allocate('plain walk', plainWalk.size) / 4;
    this.i32[this.first + at.pageFlags / 4] = memory.pageFlagsOffset;
    this.mapChanged();
  }

  /** The guest-physical map has changed: the two largest ranges of RAM count. */
  mapChanged(): void {
    const ram = this.memory
      .ranges()
      .filter(({ kind }) => kind === 'ram')
      .sort((a, b) => b.size - a.size);
    this.range(at.lowFirst, ram[0]);
    this.range(at.highFirst, ram[1]);
  }

  private range(offset: number, range: MemoryRange | undefined): void {
    const word = this.first + offset / 4;
    this.i32[word] = (range?.base ?? 0) / PAGE_BYTES;
    this.i32[word + 1] = (range?.size ?? 0) / PAGE_BYTES;
    this.i32[word + 2] = (range?.arenaOffset ?? 0) / PAGE_BYTES;
  }

  /** What `walk` of the vCPU state is in this context: no second stage, no APIC-access page, and protection keys that let key 0 do everything. */
  place(context: number, reserved: number, journal: number, pkru: number, pkrs: number): number {
    const isLong = (context & Context.PAGING) >= Paging.LEVEL4 && (context & Context.A20_CLOSED) === 0;
    if (!this.isPossible || !isLong || ((pkru | pkrs) & KEY_0) !== 0) return 0;
    const { i32, first } = this;
    i32[first + at.context / 4] = context;
    i32[first + at.reserved / 4] = reserved;
    i32[first + at.journal / 4] = journal;
    return first * 4;
  }
}
