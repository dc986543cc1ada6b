/** Guest-physical pages below this number (8 GiB) are looked up in one array. */
const DIRECT_PAGES = 1 << 21;
const CHUNK_PAGES = 512;

/** Guest-physical page → arena page, in constant time; 0 (a page that the arena never hands out) means that there is no memory. */
export class GuestMap {
  private readonly direct = new Int32Array(DIRECT_PAGES);
  private readonly chunks = new Map<number, Int32Array>();

  /** Arena page of guest-physical page `page` (an integer below 2^40), or 0. */
  arenaPage(page: number): number {
    if (page < DIRECT_PAGES) return this.direct[page]!;
    const chunk = this.chunks.get(Math.floor(page / CHUNK_PAGES));
    return chunk === undefined ? 0 : chunk[page % CHUNK_PAGES]!;
  }

  /** Maps `count` pages from `page` to consecutive arena pages from `arenaPage`; 0 unmaps them. */
  set(page: number, count: number, arenaPage: number): void {
    for (let i = 0; i < count; i++) this.setOne(page + i, arenaPage === 0 ? 0 : arenaPage + i);
  }

  private setOne(page: number, arenaPage: number): void {
    if (page < DIRECT_PAGES) {
      this.direct[page] = arenaPage;
      return;
    }
    const key = Math.floor(page / CHUNK_PAGES);
    let chunk = this.chunks.get(key);
    if (chunk === undefined) {
      if (arenaPage === 0) return;
      this.chunks.set(key, (chunk = new Int32Array(CHUNK_PAGES)));
    }
    chunk[page % CHUNK_PAGES] = arenaPage;
  }
}
