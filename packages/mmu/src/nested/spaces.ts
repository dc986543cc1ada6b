import type { GuestSpace } from './guest-space.js';
import { createGuestSpace, Stage } from './guest-space.js';
import type { StageCache } from './stage-cache.js';

const SLOTS = 64;

/**
 * Recognizes the spaces that guest mode has used lately: equal values are the same space, and keep their number, under which TLB banks are bound, and the
 * generation of their cached guest-physical pages. A space that returns after it was forgotten gets a new number, which no bank has.
 */
export class Spaces {
  /** Slot of the space that `find` found. */
  current = 0;
  private readonly known: GuestSpace[] = Array.from({ length: SLOTS }, createGuestSpace);
  private readonly numbers = new Int32Array(SLOTS);
  private readonly generations = new Int32Array(SLOTS);
  private readonly lastUse = new Float64Array(SLOTS);
  private clock = 0;
  private lastNumber = 0;
  private readonly renumber: () => void;
  /** A space with nested page tables is, or was, known. */
  private hasNested = false;

  constructor(private readonly cache: StageCache) {
    this.renumber = () => this.generations.fill(0);
  }

  /** Number of a space, at least 1. */
  find(space: GuestSpace): number {
    let slot = this.current;
    if (this.numbers[slot] === 0 || !same(this.known[slot]!, space)) slot = this.search(space);
    this.current = slot;
    this.lastUse[slot] = ++this.clock;
    return this.numbers[slot]!;
  }

  /** Generation of the space found last. */
  get generation(): number {
    const slot = this.current;
    if (this.generations[slot] === 0) this.generations[slot] = this.cache.nextGeneration(this.renumber);
    return this.generations[slot]!;
  }

  /** Forgets the guest-physical pages of EPT or NPT with a root; -1: of every root. */
  forgetRoot(root: number): void {
    for (let slot = 0; slot < SLOTS; slot++) {
      if (root < 0 || this.known[slot]!.root === root) this.generations[slot] = 0;
    }
  }

  /** Forgets the guest-physical pages of nested page tables under an ASID (-1: every one); under EPT they do not belong to a VPID. */
  forgetNested(tag: number): void {
    // VMX without VPIDs comes here at each entry and exit.
    if (!this.hasNested) return;
    for (let slot = 0; slot < SLOTS; slot++) {
      const space = this.known[slot]!;
      if (space.stage === Stage.NPT && (tag < 0 || space.tag === tag)) this.generations[slot] = 0;
    }
  }

  /**
   * Forgets one guest-physical page under the tables of the space found last, as a violation does: EPT's belong to their root, whatever the VPID; those of
   * nested page tables to their ASID.
   */
  forgetGuestPage(guestPage: number): void {
    const { stage, root, tag } = this.known[this.current]!;
    for (let slot = 0; slot < SLOTS; slot++) {
      const space = this.known[slot]!;
      if (this.generations[slot] === 0 || space.stage !== stage || space.root !== root) continue;
      if (stage === Stage.EPT || space.tag === tag) this.cache.drop(this.generations[slot]!, guestPage);
    }
  }

  private search(space: GuestSpace): number {
    let oldest = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      if (this.numbers[slot] !== 0 && same(this.known[slot]!, space)) return slot;
      if (this.lastUse[slot]! < this.lastUse[oldest]!) oldest = slot;
    }
    Object.assign(this.known[oldest]!, space);
    if (space.stage === Stage.NPT) this.hasNested = true;
    this.lastNumber = (this.lastNumber + 1) | 0;
    this.numbers[oldest] = this.lastNumber;
    this.generations[oldest] = 0;
    return oldest;
  }
}

/** The fields that a cached translation depends on. */
function same(a: GuestSpace, b: GuestSpace): boolean {
  return (
    a.tag === b.tag &&
    a.root === b.root &&
    a.stage === b.stage &&
    a.modes === b.modes &&
    a.paging === b.paging &&
    a.apicAccessPage === b.apicAccessPage &&
    a.apicGuestPage === b.apicGuestPage &&
    a.hlatRoot === b.hlatRoot &&
    a.hlatPrefix === b.hlatPrefix
  );
}
