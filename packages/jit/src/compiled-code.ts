import { type Handlers, Record, Slot } from '@nestvm/cpu/compiling';
import type { ArenaViews } from './arena-views.js';
import type { Region } from './region.js';

/** A region that has been compiled. */
interface Installed {
  readonly slot: number;
  readonly page: number;
  readonly bytes: number;
  /** Heads that lead to it. */
  readonly heads: Set<number>;
}

/** The compiled code in force: which head leads to which, and which arena page it comes from. */
export class CompiledCode {
  /** Memory that it takes, about. */
  bytes = 0;
  private readonly owners = new Map<number, Installed>();
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

  /** Puts the code of a region in the place of its entries' heads. Its other blocks are reported after `turns` more turns. */
  install(region: Region, page: number, code: WebAssembly.ExportValue, bytes: number, turns: number): void {
    const { i32 } = this.views;
    const installed: Installed = { slot: this.handlers.place(code), page, bytes, heads: new Set() };
    for (const [place, { head }] of region.blocks.entries()) {
      const entry = region.entries.indexOf(place);
      if (entry >= 0) {
        this.disown(head);
        this.owners.set(head, installed);
        installed.heads.add(head);
        i32[head >>> 2] = installed.slot;
        i32[(head + Record.ENTRY) >>> 2] = entry;
      } else if (!this.owners.has(head)) this.count(head, turns);
    }
    this.bytes += bytes;
    let those = this.pages.get(page);
    if (those === undefined) {
      those = new Set();
      this.pages.set(page, those);
    }
    those.add(installed);
  }

  /** How often compiled code of an arena page has been in vain. */
  losses(page: number): number {
    return this.rewrites.get(page) ?? 0;
  }

  /** Forgets the code of a page that was written to; its heads are stale already. */
  dropPage(page: number): void {
    const those = this.pages.get(page);
    if (those === undefined) return;
    this.rewrites.set(page, this.losses(page) + 1);
    for (const installed of those) {
      for (const head of installed.heads) this.owners.delete(head);
      this.release(installed);
    }
    this.pages.delete(page);
  }

  /** Forgets all code. With `turns` the heads count again; without, they have gone. */
  clear(turns: number | null): void {
    if (turns === null) this.rewrites.clear();
    for (const those of this.pages.values()) {
      for (const installed of those) {
        if (turns !== null) for (const head of installed.heads) this.count(head, turns);
        this.release(installed);
      }
    }
    this.pages.clear();
    this.owners.clear();
  }

  private count(head: number, turns: number): void {
    this.views.i32[head >>> 2] = Slot.HEAD;
    this.views.i32[(head + Record.COUNTDOWN) >>> 2] = turns;
  }

  /** Other code takes a head over; what nothing leads to any more goes. */
  private disown(head: number): void {
    const owner = this.owners.get(head);
    if (owner === undefined) return;
    owner.heads.delete(head);
    if (owner.heads.size > 0) return;
    this.pages.get(owner.page)?.delete(owner);
    this.release(owner);
  }

  private release(installed: Installed): void {
    this.handlers.release(installed.slot);
    this.bytes -= installed.bytes;
  }
}
