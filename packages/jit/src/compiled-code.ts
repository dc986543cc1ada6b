import { type Handlers, Record } from '@nestvm/cpu/compiling';
import type { ArenaViews } from './arena-views.js';
import { countTurns, openBlock } from './heat.js';
import { pageOf, type Region } from './region.js';

/** A region that has been compiled. */
interface Installed {
  readonly slot: number;
  /** Arena pages that it comes from. */
  readonly pages: readonly number[];
  readonly bytes: number;
  /** Heads that lead to it, and as which entry. */
  readonly heads: Map<number, number>;
  /** Heads of all its blocks. */
  readonly members: readonly number[];
  /** Its heads count again: if none of them turns often before room is wanted the next time, it goes. */
  isParked: boolean;
}

/** Turns after which a parked region is back. */
const REVIVAL_TURNS = 16;
/** Part of the room that is left taken when room was made. */
const KEPT = 3 / 4;

/** The compiled code in force: which head leads to which, and which arena page it comes from. */
export class CompiledCode {
  /** Memory that it takes, about. */
  bytes = 0;
  /** All of it, what was compiled or revived last at the end. */
  private readonly order = new Set<Installed>();
  private readonly owners = new Map<number, Installed>();
  /** In how many regions a block is, by its head. */
  private readonly shares = new Map<number, number>();
  private readonly pages = new Map<number, Set<Installed>>();
  /** How often compiled code of a page was lost because the page was written to. */
  private readonly rewrites = new Map<number, number>();

  constructor(
    private readonly views: ArenaViews,
    private readonly handlers: Handlers,
  ) {}

  /** Whether a head leads to compiled code. */
  isEntry(head: number): boolean {
    return this.owners.has(head);
  }

  /** Whether a block is in some region, as an entry or not. */
  isMember(head: number): boolean {
    return this.shares.has(head);
  }

  /** Puts the code of a region in the place of its entries' heads, as far as they are on the region's page. Its other blocks are reported after `turns` more turns. */
  install(region: Region, code: WebAssembly.ExportValue, bytes: number, turns: number): void {
    const members = region.blocks.map(({ head }) => head);
    const installed: Installed = { slot: this.handlers.place(code), pages: region.pages, bytes, heads: new Map(), members, isParked: false };
    this.order.add(installed);
    for (const head of members) this.shares.set(head, (this.shares.get(head) ?? 0) + 1);
    for (const [place, { head, offset }] of region.blocks.entries()) {
      const entry = pageOf(offset) === 0 ? region.entries.indexOf(place) : -1;
      if (entry >= 0) {
        this.disown(head);
        this.owners.set(head, installed);
        installed.heads.set(head, entry);
        this.lead(head, installed.slot, entry);
      } else if (!this.owners.has(head)) this.count(head, turns);
      openBlock(this.views, this.handlers, head);
    }
    this.bytes += bytes;
    for (const page of region.pages) {
      const those = this.pages.get(page);
      if (those === undefined) this.pages.set(page, new Set([installed]));
      else those.add(installed);
    }
  }

  /** How often compiled code of an arena page has been in vain. */
  losses(page: number): number {
    return this.rewrites.get(page) ?? 0;
  }

  /** Forgets the code of a page that was written to; its heads are stale already. Those on other pages count again, and are reported after `turns` turns. */
  dropPage(page: number, turns: number): void {
    const those = this.pages.get(page);
    if (those === undefined) return;
    this.rewrites.set(page, this.losses(page) + 1);
    for (const installed of those) {
      for (const head of installed.heads.keys()) {
        this.owners.delete(head);
        if (this.views.i32[head >>> 2] === installed.slot) this.count(head, turns);
      }
      this.release(installed);
    }
  }

  /** Forgets all code. With `turns` the heads count again; without, they have gone. */
  clear(turns: number | null): void {
    if (turns === null) this.rewrites.clear();
    for (const installed of this.order) {
      if (turns !== null) for (const head of installed.heads.keys()) this.count(head, turns);
      this.release(installed);
    }
    this.pages.clear();
    this.owners.clear();
  }

  /**
   * Sees to it that no more than `most` bytes are taken, and parks what was not compiled or revived lately when it is getting tight: parked code that is still used comes
   * back at once, the rest goes the next time. `turns` are those until heads that have lost their code are reported. Gives the number of regions that went.
   */
  makeRoom(most: number, turns: number): number {
    const low = most * KEPT;
    if (this.bytes <= low) return 0;
    let dropped = 0;
    const drop = (installed: Installed): void => {
      this.drop(installed, turns);
      dropped++;
    };
    if (this.bytes > most) for (const installed of this.order) if (installed.isParked) drop(installed);
    for (const installed of this.order) {
      if (this.bytes <= most) break;
      drop(installed);
    }
    let active = this.bytes;
    for (const installed of this.order) {
      if (active <= low / 2) break;
      active -= installed.bytes;
      this.park(installed);
    }
    return dropped;
  }

  /** Brings the parked code of a head back that turns often; false when it has none. */
  revive(head: number): boolean {
    const installed = this.owners.get(head);
    if (installed?.isParked !== true) return false;
    installed.isParked = false;
    for (const [each, entry] of installed.heads) this.lead(each, installed.slot, entry);
    this.order.delete(installed);
    this.order.add(installed);
    return true;
  }

  private park(installed: Installed): void {
    if (installed.isParked) return;
    installed.isParked = true;
    for (const head of installed.heads.keys()) this.count(head, REVIVAL_TURNS);
  }

  private drop(installed: Installed, turns: number): void {
    for (const head of installed.heads.keys()) {
      this.owners.delete(head);
      this.count(head, turns);
    }
    this.release(installed);
  }

  private lead(head: number, slot: number, entry: number): void {
    this.views.i32[head >>> 2] = slot;
    this.views.i32[(head + Record.ENTRY) >>> 2] = entry;
  }

  private count(head: number, turns: number): void {
    countTurns(this.views, head, turns);
  }

  /** Other code takes a head over; what nothing leads to any more goes. */
  private disown(head: number): void {
    const owner = this.owners.get(head);
    if (owner === undefined) return;
    owner.heads.delete(head);
    if (owner.heads.size > 0) return;
    this.release(owner);
  }

  private release(installed: Installed): void {
    this.handlers.release(installed.slot);
    this.order.delete(installed);
    for (const head of installed.members) this.leave(head);
    for (const page of installed.pages) {
      const those = this.pages.get(page);
      those?.delete(installed);
      if (those?.size === 0) this.pages.delete(page);
    }
    this.bytes -= installed.bytes;
  }

  private leave(head: number): void {
    const left = (this.shares.get(head) ?? 0) - 1;
    if (left > 0) this.shares.set(head, left);
    else this.shares.delete(head);
  }
}
