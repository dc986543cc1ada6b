import { Context } from './context.js';
import { DeviceTranslation } from './device-translation.js';
import type { GuestSpace } from './nested/guest-space.js';
import { Stage } from './nested/guest-space.js';
import { NestedStage } from './nested/nested-stage.js';
import { Spaces } from './nested/spaces.js';
import type { MmuOptions } from './options.js';
import { BANK } from './registers.js';
import { TlbPool } from './tlb/pool.js';

/** Everything that a vCPU caches of translations, and what forgets it (SDM Vol. 3, "Operations that Invalidate Cached Mappings"; APM Vol. 2, "TLB Control"). */
export class TranslationCaches {
  protected readonly pool: TlbPool;
  protected readonly nested: NestedStage;
  protected readonly spaces: Spaces;
  protected readonly device = new DeviceTranslation();
  /** The space of guest mode, null in root mode. */
  protected guest: GuestSpace | null = null;

  protected constructor({ memory, vcpuBase, maxPhysicalAddress = 40, banks = 16 }: MmuOptions) {
    this.pool = new TlbPool(memory.arena, 'tlb', banks, vcpuBase / 4 + BANK);
    this.nested = new NestedStage(memory, maxPhysicalAddress);
    this.spaces = new Spaces(this.nested.cache);
    this.nested.onRefusal = (guestPage) => this.spaces.forgetGuestPage(guestPage);
  }

  /** The mode in force: a `Context` word. */
  protected get context(): number {
    return this.pool.context;
  }

  /** INVLPG: forgets one page in every PCID of the tag in force (global pages are not told apart), whatever its size. */
  invalidatePage(lo: number, hi: number): void {
    this.pool.invalidatePage(this.pool.tag, lo | 0, hi | 0, 0, 0, true);
  }

  /** Forgets every translation of the tag in force, global ones too. */
  flushAll(): void {
    this.pool.invalidate(this.pool.tag, 0, 0);
  }

  /** Forgets the current PCID's translations. */
  flushNonGlobal(): void {
    this.pool.invalidate(this.pool.tag, Context.PCID, this.context & Context.PCID);
  }

  /** INVPCID of type 0 (address), 1 (PCID), 2 (all) or 3 (all but global); the caller has checked the operands. */
  invpcid(type: number, pcid: number, lo: number, hi: number): void {
    const match = pcid << Context.PCID_SHIFT;
    if (type === 0) this.pool.invalidatePage(this.pool.tag, lo | 0, hi | 0, Context.PCID, match, true);
    else if (type === 1) this.pool.invalidate(this.pool.tag, Context.PCID, match);
    else this.flushAll();
  }

  /** INVVPID 1 (single context), TLB_CONTROL 3, VM entry and exit without VPIDs (tag 0): forgets a VPID or ASID, whatever its second stage. */
  invalidateTag(tag: number): void {
    this.pool.invalidate(tag, 0, 0);
    this.spaces.forgetNested(tag);
    this.refreshStage();
  }

  /** INVVPID 3, TLB_CONTROL 7: the same but for global pages, which are not told apart. */
  invalidateTagNonGlobal(tag: number): void {
    this.invalidateTag(tag);
  }

  /** INVVPID 0, INVLPGA: forgets one page of a VPID or ASID in every PCID. */
  invalidateTagPage(tag: number, lo: number, hi: number): void {
    this.pool.invalidatePage(tag, lo | 0, hi | 0, 0, 0, true);
    this.spaces.forgetNested(tag);
    this.refreshStage();
  }

  /** INVVPID 2 (every VPID but 0), or TLB_CONTROL 1 with tag 0 too. */
  invalidateAllTags(includingZero: boolean): void {
    if (includingZero) this.pool.invalidate(-1, 0, 0);
    else this.pool.invalidateTagged();
    this.spaces.forgetNested(-1);
    this.refreshStage();
  }

  /** INVEPT 1: forgets what came through the EPT with a root table at this physical address (EPTP bits 51:12), in every VPID and PCID. */
  invalidateRoot(root: number): void {
    this.pool.invalidateRoot(root);
    this.spaces.forgetRoot(root);
    this.refreshStage();
  }

  /** INVEPT 2: forgets what came through any second stage. */
  invalidateAllRoots(): void {
    this.invalidateRoot(-1);
  }

  /** Takes write access to an arena page (-1: all) out of the TLB, so that the next write asks. */
  dropWriteAccess(arenaPage: number): void {
    this.pool.dropWrites(arenaPage);
  }

  /** Forgets everything, of every address space. */
  forgetEverything(): void {
    this.pool.invalidate(-1, 0, 0);
    this.spaces.forgetRoot(-1);
    this.refreshStage();
  }

  /** What a page fault or a violation forgets: the linear address in the current tag and PCID. */
  protected forgetAddress(lo: number, hi: number): void {
    this.pool.invalidatePage(this.pool.tag, lo | 0, hi | 0, Context.PCID, this.context & Context.PCID, false);
  }

  /** Forgets where tables are, in every bank. */
  protected forgetStructures(): void {
    this.pool.structures.clearAll();
    this.device.clear();
  }

  /** After guest-physical pages were forgotten: the space in force needs its new generation. */
  private refreshStage(): void {
    if (this.guest !== null && this.guest.stage !== Stage.NONE) this.nested.enter(this.guest, this.spaces.generation);
  }
}
