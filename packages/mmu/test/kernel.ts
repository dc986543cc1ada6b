import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { PageFlag, WRITE_TRAP } from '@nestvm/memory';
import type { MmuOptions } from '../src/index.js';
import type { OracleAccess } from './oracle.js';
import { oracle, trace } from './oracle.js';
import { Random } from './random.js';
import { createGuest, World } from './world.js';

const KINDS = ['read', 'write', 'fetch'] as const;
const ROOTS = 3;

/** Where the tables of a format are, and which of their entries are used. */
export interface Format {
  readonly name: string;
  readonly cr4: number;
  readonly efer: number;
  readonly entryBytes: 4 | 8;
  /** Slots used at each level, top first, and how far the index is shifted. */
  readonly levels: readonly { readonly slots: readonly number[]; readonly shift: number }[];
  /** Levels (index into `levels`) whose entries may be large. */
  readonly large: readonly number[];
  readonly canonicalBits: number;
}

const LONG = [
  { slots: [0, 0x1ff], shift: 39 },
  { slots: [0, 0x1ff], shift: 30 },
  { slots: [0, 1], shift: 21 },
  { slots: [0, 1, 0x155, 0x1ff], shift: 12 },
];
/** Every paging format, with and without PCIDs. */
export const FORMATS: readonly Format[] = [
  { name: '4-level with PCIDs', cr4: Cr4.PAE | Cr4.PCIDE, efer: Efer.LMA | Efer.LME, entryBytes: 8, levels: LONG, large: [1, 2], canonicalBits: 48 },
  { name: '4-level', cr4: Cr4.PAE, efer: Efer.LMA | Efer.LME, entryBytes: 8, levels: LONG, large: [1, 2], canonicalBits: 48 },
  {
    name: '5-level with PCIDs',
    cr4: Cr4.PAE | Cr4.PCIDE | Cr4.LA57,
    efer: Efer.LMA | Efer.LME,
    entryBytes: 8,
    levels: [{ slots: [0, 0x100], shift: 48 }, ...LONG],
    large: [2, 3],
    canonicalBits: 57,
  },
  {
    name: 'PAE',
    cr4: Cr4.PAE,
    efer: 0,
    entryBytes: 8,
    levels: [{ slots: [0, 1, 2, 3], shift: 30 }, LONG[2]!, LONG[3]!],
    large: [1],
    canonicalBits: 33,
  },
  {
    name: '32-bit',
    cr4: Cr4.PSE,
    efer: 0,
    entryBytes: 4,
    levels: [
      { slots: [0, 0x100, 0x3ff], shift: 22 },
      { slots: [0, 1, 0x200, 0x3ff], shift: 12 },
    ],
    large: [0],
    canonicalBits: 33,
  },
];

const show = (value: object): string => JSON.stringify(value, (_key, member: unknown) => (typeof member === 'bigint' ? member.toString(16) : member));
const describeAccess = (access: OracleAccess): string => `${access.kind} of ${access.linear.toString(16)}`;

/** A guest kernel that edits its tables at random and always performs an invalidation that the manual accepts for the edit. */
export class Kernel {
  readonly world: World;
  hits = 0;
  walks = 0;
  edits = 0;
  private readonly entries: { readonly address: number; readonly level: number }[] = [];
  private readonly candidates: readonly bigint[];
  private readonly focus: bigint[] = [];
  private pcid = 0;
  private readonly pcids: boolean;

  constructor(
    readonly format: Format,
    private readonly random: Random,
    banks: number,
    options: Pick<MmuOptions, 'evict' | 'sanitize'> = {},
  ) {
    const { arena, memory } = createGuest();
    this.world = new World(arena, memory, { maxPhysicalAddress: 40, pages1g: true, banks, ...options });
    this.pcids = (format.cr4 & Cr4.PCIDE) !== 0;
    this.candidates = this.allPaths();
    this.layOut();
    const { registers } = this.world;
    Object.assign(registers, { cr0: Cr0.PE | Cr0.PG | Cr0.WP, cr4: format.cr4 | Cr4.PGE, efer: format.efer | Efer.NXE, cpl: 0 });
    this.world.apply();
    this.writeCr3(0, false);
  }

  step(): void {
    const { random } = this;
    const what = random.below(100);
    if (what < 80) for (let i = 0; i < 8; i++) this.access();
    else if (what < 87) this.edit();
    else if (what < 89) this.widen();
    else if (what < 93) this.changeMode();
    else if (what < 96) this.writeCr3(random.below(this.pcids ? ROOTS : 1), this.pcids && random.chance(95));
    else if (what < 98) this.flagPage();
    else this.checkBank();
  }

  /** Every entry of the bank in force must be what a fresh walk says. */
  checkBank(): void {
    for (const { kind, linear } of this.world.entries()) this.checkHit(kind, linear);
  }

  private root(pcid: number): bigint {
    return BigInt(0x1000 * (1 + pcid)) | (this.pcids ? BigInt(pcid) : 0n);
  }

  private allPaths(): bigint[] {
    let paths = [0n];
    for (const { slots, shift } of this.format.levels) paths = paths.flatMap((path) => slots.map((slot) => path | (BigInt(slot) << BigInt(shift))));
    return paths.map((path) => BigInt.asUintN(64, BigInt.asIntN(this.format.canonicalBits, path)));
  }

  /** Roots in pages 1-3, two tables for each further level after them; random links. */
  private layOut(): void {
    this.format.levels.forEach(({ slots }, level) => {
      const pages = level === 0 ? [1, 2, 3] : [2 + level * 2, 3 + level * 2];
      for (const page of pages) for (const slot of slots) this.entries.push({ address: page * 4096 + slot * this.format.entryBytes, level });
    });
    for (const entry of this.entries) this.writeEntry(entry, this.randomEntry(entry.level));
  }

  private randomEntry(level: number): { low: number; high: number } {
    const { random, format } = this;
    const leaf = level === format.levels.length - 1;
    const large = !leaf && format.large.includes(level) && random.chance(30);
    const flags =
      (random.chance(96) ? 1 : 0) | (random.chance(90) ? 2 : 0) | (random.chance(level % 2 === 0 ? 95 : 75) ? 4 : 0) | (random.bits() & 0x160);
    const high = format.entryBytes === 8 && random.chance(5) ? 1 << 31 : 0;
    if (format.name === 'PAE' && level === 0) return { low: ((4 + random.below(2)) << 12) | (flags & 1), high: 0 };
    if (large) return { low: flags | 0x80, high };
    if (leaf) return { low: (random.below(16) << 12) | flags, high };
    return { low: ((4 + level * 2 + random.below(2)) << 12) | (flags & ~0x140), high };
  }

  private writeEntry(entry: { address: number; level: number }, value: { low: number; high: number }): void {
    this.world.memory.write32(entry.address, value.low);
    if (this.format.entryBytes === 8) this.world.memory.write32(entry.address + 4, value.high);
  }

  /** Mostly one of a few addresses, so that the TLB is hit; they wander. */
  private randomLinear(): bigint {
    const slot = this.random.below(8);
    if (this.focus[slot] === undefined || this.random.chance(6)) this.focus[slot] = this.anyLinear();
    return this.focus[slot]!;
  }

  private anyLinear(): bigint {
    const path = this.random.pick(this.candidates);
    // Somewhere in the page, which may be a large one: look beyond the slots in use as well.
    return this.random.chance(30) ? path ^ BigInt((this.random.bits() & 0x3f_f000) >>> 0) : path;
  }

  private access(): void {
    const { world, random } = this;
    const linear = this.randomLinear();
    const kind = random.pick(KINDS);
    if (this.checkHit(kind, linear)) return;
    this.walks++;
    const access = { ...world.access(kind, linear), implicit: world.registers.cpl !== 3 && random.chance(5) };
    const expected = oracle(world.mode(), access);
    const ok = world.translate(access);
    const got = ok ? world.mmu.physical : world.mmu.errorCode;
    if (ok !== expected.ok || got !== (expected.ok ? Number(expected.physical) : expected.errorCode))
      throw new Error(`${this.format.name}: ${describeAccess(access)} gives ${ok} ${got}, the manual says ${show(expected)}`);
    if (!ok && (world.lookupTrapping(linear) >= 0 || KINDS.some((each) => world.lookup(each, linear) >= 0)))
      throw new Error(`${this.format.name}: a page fault left ${describeAccess(access)} in the TLB`);
  }

  private checkHit(kind: OracleAccess['kind'], linear: bigint): boolean {
    const { world } = this;
    const trapping = kind === 'write' ? world.lookupTrapping(linear) : -1;
    const at = trapping >= 0 ? trapping : world.lookup(kind, linear);
    if (at < 0) return false;
    this.hits++;
    const result = oracle(world.mode(), world.access(kind, linear));
    const fresh = result.ok && result.updates.length === 0 && world.memory.arenaOffsetOf(Number(result.physical)) === at;
    const trapped = kind === 'write' && trapping < 0 && (world.memory.pageFlags[at >>> 12]! & WRITE_TRAP) !== 0;
    if (!fresh || trapped) {
      throw new Error(`${this.format.name}: stale ${kind} of ${linear.toString(16)} (step ${this.hits}): ${show(result)}`);
    }
    return true;
  }

  /** The pages, by PCID, whose translation goes through a table entry; taken before the entry changes. */
  private users(address: number): { pcid: number; linear: bigint; pageBytes: bigint }[] {
    const mode = this.world.mode();
    const found: { pcid: number; linear: bigint; pageBytes: bigint }[] = [];
    for (let pcid = 0; pcid < (this.pcids ? ROOTS : 1); pcid++) {
      const there = { ...mode, cr3: this.root(pcid) };
      for (const linear of this.candidates) {
        const used = trace(there, linear);
        if (used?.addresses.includes(BigInt(address)) === true) found.push({ pcid, linear, pageBytes: used.pageBytes });
      }
    }
    return found;
  }

  private edit(): void {
    const { random } = this;
    const entry = random.pick(this.entries);
    // PDPTEs live in registers: only a load of CR3 makes a change of theirs visible.
    const pdpte = this.format.name === 'PAE' && entry.level === 0;
    const users = pdpte ? [] : this.users(entry.address);
    this.edits++;
    this.writeEntry(entry, this.randomEntry(entry.level));
    if (pdpte) this.flushEverything();
    else if (random.chance(85)) for (const user of users) this.invalidateOne(user.pcid, user.linear, user.pageBytes);
    else if (random.chance(50)) this.flushEverything();
    else this.flushPcids(new Set(users.map(({ pcid }) => pcid)));
  }

  /** INVLPG or INVPCID 0 with any address of the page. */
  private invalidateOne(pcid: number, linear: bigint, pageBytes: bigint): void {
    const address = (linear & ~(pageBytes - 1n)) | (BigInt(this.random.bits() >>> 0) & (pageBytes - 1n));
    const lo = Number(address & 0xffff_ffffn) | 0;
    const hi = Number(address >> 32n) | 0;
    if (pcid === this.pcid) this.world.mmu.invalidatePage(lo, hi);
    else this.world.mmu.invpcid(0, pcid, lo, hi);
  }

  /** CR4.PGE off and on, or INVPCID 2, which spare nothing; PAE reloads CR3 for its PDPTEs. */
  private flushEverything(): void {
    const { world, random } = this;
    if (this.pcids && random.chance(50)) {
      world.mmu.invpcid(random.chance(50) ? 2 : 3, 0, 0, 0);
    } else {
      world.registers.cr4 ^= Cr4.PGE;
      world.apply();
    }
    if (this.format.name === 'PAE') this.writeCr3(0, false);
  }

  /** MOV to CR3 or INVPCID 1 for each PCID. (Global pages are not told apart here, which only invalidates more.) */
  private flushPcids(pcids: ReadonlySet<number>): void {
    const home = this.pcid;
    for (const pcid of pcids) {
      if (this.pcids && this.random.chance(50)) this.world.mmu.invpcid(1, pcid, 0, 0);
      else this.writeCr3(pcid, false);
    }
    if (this.pcid !== home) this.writeCr3(home, true);
  }

  /** Edits that owe no invalidation: an entry becomes present, or writable. */
  private widen(): void {
    const entry = this.random.pick(this.entries);
    if (this.format.name === 'PAE' && entry.level === 0) return;
    this.world.memory.write32(entry.address, this.world.memory.read32(entry.address) | (this.random.chance(50) ? 1 : 2));
  }

  private changeMode(): void {
    const { registers: r } = this.world;
    const { random } = this;
    switch (random.below(12)) {
      case 0:
        r.cr0 ^= Cr0.WP;
        break;
      case 1:
        r.cr4 ^= random.pick([Cr4.SMEP, Cr4.SMAP, Cr4.PKE, Cr4.PKS]);
        break;
      case 2:
      case 3:
        r.pkru = random.pick([0, 1, 2, 0x55555554]);
        break;
      case 4:
        r.efer ^= Efer.NXE;
        break;
      case 5:
      case 6:
        r.ac = !r.ac;
        break;
      default:
        r.cpl = r.cpl === 3 ? 0 : 3;
    }
    this.world.apply();
  }

  private writeCr3(pcid: number, keep: boolean): void {
    const cr3 = this.root(pcid);
    this.pcid = pcid;
    this.world.registers.cr3 = cr3;
    if (!this.world.mmu.writeCr3(Number(cr3), keep ? 1 << 31 : 0)) throw new Error('MOV to CR3 refused');
  }

  private flagPage(): void {
    const { memory } = this.world;
    const page = memory.arenaOffsetOf(this.random.below(16) << 12) / 4096;
    switch (this.random.below(6)) {
      case 0:
        memory.setFlag(page, PageFlag.CODE);
        break;
      case 1:
        memory.setFlag(page, PageFlag.WATCHED);
        break;
      case 2:
        memory.dirtyLog.start();
        break;
      case 3:
        memory.dirtyLog.take();
        break;
      case 4:
        memory.dirtyLog.stop();
        break;
      default:
        memory.clearFlag(page, PageFlag.CODE | PageFlag.WATCHED);
    }
  }
}
