const TABLES = 64;
const DIRECTORIES = 16;

/**
 * Paging-structure caches: for each TLB bank, which page table maps a 2 MiB region and which page directory a 1 GiB region, with the rights of the entries
 * above. They live and die with the entries of their bank, so that every invalidation reaches them.
 */
export class StructureCache {
  /** What `findTable` or `findDirectory` found: page of the table, and the rights so far. */
  page = 0;
  rights = 0;
  private readonly key: Float64Array;
  private readonly pages: Float64Array;
  private readonly granted: Int32Array;
  /** 1: a bank holds anything. */
  private readonly used: Uint8Array;

  constructor(banks: number) {
    const entries = banks * (TABLES + DIRECTORIES);
    this.key = new Float64Array(entries).fill(-1);
    this.pages = new Float64Array(entries);
    this.granted = new Int32Array(entries);
    this.used = new Uint8Array(banks);
  }

  /** Looks for the page table of a linear address (int32 halves). */
  findTable(bank: number, lo: number, hi: number): boolean {
    return this.find(tableSlot(bank, lo), tableKey(lo, hi));
  }

  /** Looks for the page directory of a linear address. */
  findDirectory(bank: number, lo: number, hi: number): boolean {
    return this.find(directorySlot(bank, lo, hi), directoryKey(lo, hi));
  }

  /** Notes the page table of a linear address. */
  putTable(bank: number, lo: number, hi: number, page: number, rights: number): void {
    this.put(bank, tableSlot(bank, lo), tableKey(lo, hi), page, rights);
  }

  /** Notes the page directory of a linear address. */
  putDirectory(bank: number, lo: number, hi: number, page: number, rights: number): void {
    this.put(bank, directorySlot(bank, lo, hi), directoryKey(lo, hi), page, rights);
  }

  /** Forgets what a bank has. */
  clear(bank: number): void {
    if (this.used[bank] === 0) return;
    this.used[bank] = 0;
    const start = bank * (TABLES + DIRECTORIES);
    this.key.fill(-1, start, start + TABLES + DIRECTORIES);
  }

  /** Forgets what all banks have. */
  clearAll(): void {
    for (let bank = 0; bank < this.used.length; bank++) this.clear(bank);
  }

  /** Forgets what a bank has for one linear address. */
  drop(bank: number, lo: number, hi: number): void {
    if (this.used[bank] === 0) return;
    const table = tableSlot(bank, lo);
    const directory = directorySlot(bank, lo, hi);
    if (this.key[table] === tableKey(lo, hi)) this.key[table] = -1;
    if (this.key[directory] === directoryKey(lo, hi)) this.key[directory] = -1;
  }

  private find(slot: number, key: number): boolean {
    if (this.key[slot] !== key) return false;
    this.page = this.pages[slot]!;
    this.rights = this.granted[slot]!;
    return true;
  }

  private put(bank: number, slot: number, key: number, page: number, rights: number): void {
    this.used[bank] = 1;
    this.key[slot] = key;
    this.pages[slot] = page;
    this.granted[slot] = rights;
  }
}

const tableSlot = (bank: number, lo: number): number => bank * (TABLES + DIRECTORIES) + ((lo >>> 21) & (TABLES - 1));
const tableKey = (lo: number, hi: number): number => (hi >>> 0) * 2048 + (lo >>> 21);
const directorySlot = (bank: number, lo: number, hi: number): number =>
  bank * (TABLES + DIRECTORIES) + TABLES + (((lo >>> 30) | (hi << 2)) & (DIRECTORIES - 1));
const directoryKey = (lo: number, hi: number): number => (hi >>> 0) * 4 + (lo >>> 30);
