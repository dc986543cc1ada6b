import type { Arena, MemoryRange, PhysicalMemory } from '@nestvm/memory';
import { PAGE_BYTES } from '@nestvm/memory';
import { struct, u32 } from '@nestvm/state';
import { Context, Paging } from './context.js';
import { type GuestSpace, Stage } from './nested/guest-space.js';

/**
 * What generated code must know to walk the tables of 4-level and 5-level paging by itself, and those of a second stage: `walk` of the vCPU state holds the place of this struct while
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
  /** The second stage: a `PlainStage` value; arena offset of its first table; address bits that this indexes begin at; bits of an entry's high half that must be 0. */
  stage: u32,
  stageRoot: u32,
  stageShift: u32,
  stageReserved: u32,
  /** Not 0: the second stage may map pages of 2 MiB, and of 1 GiB. */
  stagePages2m: u32,
  stagePages1g: u32,
  /** Pages that TypeScript must see each access to: physical, and guest-physical ones; all ones: there is none. */
  apicPage: u32,
  apicGuestPage: u32,
  /** Arena offsets of the first TLB bank's struct and of the end of those that belong to contexts. */
  banks: u32,
  banksEnd: u32,
  /** Not 0: a page fault that generated code has found owes the caches of paging structures that they forget its address. */
  structuresStale: u32,
});

/** Second stages that generated code walks: nested page tables of four or five levels, EPT without and with accessed and dirty flags. */
export const PlainStage = { NONE: 0, NPT: 1, EPT: 2, EPT_FLAGS: 3 } as const;

/** What {@link PlainWalk} must know of a second stage. */
export interface PlainStageTables {
  /** A `PlainStage` value; `NONE`: TypeScript walks it. */
  readonly kind: number;
  /** Physical address of the first table. */
  readonly root: number;
  readonly isFiveLevel: boolean;
  readonly reserved: number;
  readonly pages2m: boolean;
  readonly pages1g: boolean;
}

const at = plainWalk.offset;
/** Of PKRU or PKRS: what they say about key 0. */
const KEY_0 = 3;
const PAGES_4G = 0x1_0000_0000;
const [TOP_SHIFT_4, TOP_SHIFT_5] = [39, 48] as const;

/** Keeps the struct up to date. */
export class PlainWalk {
  private readonly i32: Int32Array;
  private readonly first: number;
  private isStageWalkable = true;
  /** Number of the space whose second stage is described, and its `PlainStage`. */
  private described = -1;
  private kind: number = PlainStage.NONE;

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
    this.described = -1;
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

  /** A space of guest mode, which has a number of its own, comes into force; `nested` has entered it. What there is to know of its second stage is asked once. */
  enterStage({ stage, apicAccessPage, apicGuestPage }: GuestSpace, number: number, nested: { readonly plain: PlainStageTables }): void {
    const { i32, first } = this;
    i32[first + at.apicPage / 4] = apicAccessPage;
    i32[first + at.apicGuestPage / 4] = apicGuestPage;
    if (stage === Stage.NONE) {
      i32[first + at.stage / 4] = PlainStage.NONE;
      this.isStageWalkable = apicAccessPage < 0 && apicGuestPage < 0;
      return;
    }
    if (number !== this.described) {
      this.described = number;
      this.describe(nested.plain);
    }
    i32[first + at.stage / 4] = this.kind;
    const isNear = apicAccessPage < PAGES_4G && apicGuestPage < PAGES_4G;
    this.isStageWalkable = isNear && this.kind !== PlainStage.NONE && i32[first + at.stageRoot / 4] !== 0;
  }

  /** Where the structs of the TLB's banks are. */
  useBanks(first: number, end: number): void {
    this.i32[this.first + at.banks / 4] = first;
    this.i32[this.first + at.banksEnd / 4] = end;
  }

  /** Guest mode has ended. */
  leaveStage(): void {
    this.i32[this.first + at.stage / 4] = PlainStage.NONE;
    this.isStageWalkable = true;
  }

  private describe(tables: PlainStageTables): void {
    const { i32, first, memory } = this;
    this.kind = tables.kind;
    i32[first + at.stageRoot / 4] = Math.max(memory.arenaOffsetOf(tables.root), 0);
    i32[first + at.stageShift / 4] = tables.isFiveLevel ? TOP_SHIFT_5 : TOP_SHIFT_4;
    i32[first + at.stageReserved / 4] = tables.reserved;
    i32[first + at.stagePages2m / 4] = tables.pages2m ? 1 : 0;
    i32[first + at.stagePages1g / 4] = tables.pages1g ? 1 : 0;
  }

  /** Whether the caches of paging structures owe something to a page fault that generated code has found; they have paid it then. */
  takeStale(): boolean {
    const owes = this.owesStructures;
    this.i32[this.first + at.structuresStale / 4] = 0;
    return owes;
  }

  get owesStructures(): boolean {
    return this.i32[this.first + at.structuresStale / 4] !== 0;
  }

  /** What `walk` of the vCPU state is in this context: 4- or 5-level paging, a second stage that generated code knows, and protection keys that let key 0 do everything. */
  place(context: number, reserved: number, journal: number, pkru: number, pkrs: number): number {
    const isLong = (context & Context.PAGING) >= Paging.LEVEL4 && (context & Context.A20_CLOSED) === 0;
    if (!this.isPossible || !this.isStageWalkable || !isLong || ((pkru | pkrs) & KEY_0) !== 0) return 0;
    const { i32, first } = this;
    i32[first + at.context / 4] = context;
    i32[first + at.reserved / 4] = reserved;
    i32[first + at.journal / 4] = journal;
    return first * 4;
  }
}
