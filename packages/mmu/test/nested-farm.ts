import { Cr0, Cr4, Efer } from '@nestvm/isa';
import type { Shadow } from '../src/index.js';
import { createGuestSpace, formatShadow, PageFault, Paging, SpaceMode, Stage, TranslationFault } from '../src/index.js';
import type { NestedResult, OracleStage } from './nested-oracle.js';
import { NestedOracle } from './nested-oracle.js';
import type { OracleAccess, OracleMode } from './oracle.js';
import type { Random } from './random.js';
import { createGuest, HIGH_RAM, World } from './world.js';

// Physical pages 0-7 hold guest tables and data, 8-12 second-stage tables of levels 1 to 5; above 4 GiB: the log, four SPP tables, data.
const GUEST_TABLES = 8;
const GUEST_SLOTS = [0, 1, 0x155, 0x1ff];
const STAGE_FIRST = 8;
const STAGE_LEVELS = 5;
const STAGE_SLOTS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0x1ff];
const LOG_PAGE = HIGH_RAM;
const SPP_PAGE = HIGH_RAM + 0x1000;
const FORMATS = ['legacy32', 'pae', 'level4', 'level5'] as const;
const PAGING = { legacy32: Paging.LEGACY32, pae: Paging.PAE, level4: Paging.LEVEL4, level5: Paging.LEVEL5 };
const KINDS = ['read', 'write', 'fetch'] as const;
const FAULTS = ['violation', 'misconfiguration', 'log-full', 'spp-miss', 'spp-misconfiguration'] as const;

/** Counts of what came out. */
export interface NestedTally {
  ok: number;
  pageFault: number;
  violation: number;
  table: number;
  misconfiguration: number;
  log: number;
  subPage: number;
  cached: number;
  overlap: number;
  shadow: number;
}

const isGuestPage = (address: number): boolean => address < GUEST_TABLES * 4096;
const isStagePage = (address: number): boolean =>
  (address >= STAGE_FIRST * 4096 && address < (STAGE_FIRST + STAGE_LEVELS) * 4096) || (address >= LOG_PAGE && address < SPP_PAGE + 0x4000);

/** One guest under a second stage: random edits of both stages' tables, random modes, accesses against the naive walkers. */
export class NestedFarm {
  readonly world: World;
  private readonly words: number[] = [];
  private readonly guestPairs: number;
  private readonly stagePairs: number;
  private readonly indices: Int32Array;
  private readonly space = createGuestSpace();
  private stage!: OracleStage;

  constructor(
    private readonly kind: 'ept' | 'npt',
    private readonly narrow: boolean,
    private readonly narrowStage: boolean,
    private readonly width: number,
    private readonly random: Random,
  ) {
    const { arena, memory } = createGuest();
    this.world = new World(arena, memory, { maxPhysicalAddress: width, pages1g: width !== 36, banks: 2 });
    const add = (page: number, slots: readonly number[]): void => {
      for (const slot of slots) this.words.push(page + slot * 8, page + slot * 8 + 4);
    };
    for (let page = 0; page < GUEST_TABLES; page++) add(page * 4096, GUEST_SLOTS);
    this.guestPairs = this.words.length / 2;
    for (let level = 0; level < STAGE_LEVELS; level++) add((STAGE_FIRST + level) * 4096, STAGE_SLOTS);
    this.stagePairs = this.words.length / 2 - this.guestPairs;
    for (let level = 0; level < 4; level++) add(SPP_PAGE + level * 4096, STAGE_SLOTS.slice(0, 9));
    this.indices = Int32Array.from(this.words, (address) => memory.arenaOffsetOf(address) / 4);
    this.edit(400);
    this.newMode();
  }

  /** Random edits, sometimes a new mode, then one to three accesses with warm caches. */
  step(tally: NestedTally): void {
    const { random, world } = this;
    this.edit(3);
    if (random.chance(40)) this.newMode();
    this.setPdptes();
    world.mmu.forgetEverything();
    const linear = this.randomLinear(world.mode());
    const userMode = random.chance(85) ? world.registers.cpl === 3 : random.chance(50);
    for (let i = 1 + random.below(3); i > 0; i--) {
      const access = { linear, kind: random.pick(KINDS), userMode, implicit: !userMode && random.chance(15) };
      if (!this.check(access, tally)) return;
    }
    this.checkCached(linear, tally);
  }

  private edit(count: number): void {
    for (let i = 0; i < count; i++) {
      const what = this.random.below(100);
      if (what < 45) this.store(this.random.below(this.guestPairs), this.guestEntry(), this.narrow ? this.guestEntry().low : undefined);
      else if (what < 95) this.editStage();
      else this.editSpp();
    }
  }

  private store(pair: number, { low, high }: { low: number; high: number }, second = high): void {
    this.world.arena.i32[this.indices[pair * 2]!] = low;
    this.world.arena.i32[this.indices[pair * 2 + 1]!] = second;
  }

  private editStage(): void {
    const pair = this.random.below(this.stagePairs);
    const level = Math.floor(pair / STAGE_SLOTS.length) + 1;
    this.store(this.guestPairs + pair, this.stageEntry(level), this.narrowStage ? this.stageEntry(level).low : undefined);
  }

  private editSpp(): void {
    const { random } = this;
    const pair = random.below(36);
    const level = Math.floor(pair / 9) + 1;
    let low = level === 1 ? random.bits() & 0x5555_5555 : (SPP_PAGE + (level - 2) * 4096) | 0 | (random.chance(95) ? 1 : 0);
    let high = level === 1 ? random.bits() & 0x5555_5555 : 1;
    if (random.chance(4)) low ^= 1 << random.below(32);
    if (random.chance(4)) high ^= 1 << random.below(32);
    this.store(this.guestPairs + this.stagePairs + pair, { low, high });
  }

  /** Guest entries point at guest-physical pages that the second stage knows. */
  private guestEntry(): { low: number; high: number } {
    const { random } = this;
    // What a PDPTE of PAE paging may have; as any other entry it grants little.
    if (random.chance(12)) return { low: (random.below(GUEST_TABLES) << 12) | 1, high: random.chance(15) ? 1 << random.below(32) : 0 };
    let low = (random.below(GUEST_TABLES + 1) << 12) | (random.chance(98) ? 1 : 0) | (random.chance(92) ? 2 : 0) | (random.chance(88) ? 4 : 0);
    low |= random.bits() & (random.chance(60) ? 0x160 : 0x60);
    if (random.chance(10)) low = (low & ~0x1e_0000) | 0x80;
    if (random.chance(5)) low |= 1 << 11;
    if (random.chance(1)) low ^= 1 << random.below(32);
    let high = random.chance(3) ? 1 << random.below(20) : 0;
    if (random.chance(5)) high |= 1 << 31;
    return { low, high };
  }

  private stageEntry(level: number): { low: number; high: number } {
    const { random } = this;
    const leaf = level === 1 || random.chance(level < 4 ? 10 : 1);
    const data = random.chance(80) ? random.below(GUEST_TABLES) : 5 + random.below(11);
    let page = leaf ? (level === 1 ? data : 0) : STAGE_FIRST + level - 2;
    let high = leaf && data >= 8 ? 1 : 0;
    if (level > 1 && leaf) page = 0;
    let low = page << 12;
    if (this.kind === 'npt') {
      low |= (random.chance(99) ? 1 : 0) | (random.chance(98) ? 2 : 0) | (random.chance(99) ? 4 : 0) | (random.bits() & 0x60);
      if (level > 1 && leaf) low |= 0x80;
      if (random.chance(3)) high |= 1 << 31;
    } else {
      low |= this.eptRights() | (random.bits() & 0x300);
      if (leaf) low |= random.pick([0x30, 0x30, 0x30, 0x70, 0x00]) | (level > 1 ? 0x80 : 0);
      high |= random.bits() & (random.chance(30) ? 0xe600_0000 : 0x8000_0000);
      if (level === 1 && random.chance(10)) {
        low &= ~2;
        high |= 1 << 29;
      }
    }
    if (random.chance(1)) low ^= 1 << random.below(32);
    if (random.chance(1)) high ^= 1 << random.below(32);
    return { low, high };
  }

  private eptRights(): number {
    const { random } = this;
    if (random.chance(90)) return 0x407;
    return random.pick([0, 1, 3, 5, 7, 4, 2, 6, 0x400, 0x401, 0x405, 0x403]);
  }

  private newMode(): void {
    const { random, world } = this;
    this.guestMode();
    const format = this.narrowStage ? 'legacy32' : this.kind === 'ept' ? random.pick(['level4', 'level5'] as const) : random.pick(FORMATS.slice(1));
    const level = { legacy32: 2, pae: 3, level4: 4, level5: 5 }[format];
    const flip = (percent: number): boolean => random.chance(percent);
    const ept = this.kind === 'ept';
    const accessedDirty = !ept || flip(60);
    this.stage = {
      kind: this.kind,
      format,
      root: (STAGE_FIRST + level - 1) * 4096,
      maxPhysicalAddress: this.width,
      accessedDirty,
      executeOnly: flip(60),
      modeBased: ept && flip(30),
      subPages: ept && flip(30),
      log: ept && accessedDirty && flip(40),
      pagingWrite: ept && flip(25),
      pagingVerify: ept && flip(25),
      advanced: flip(50),
      nx: flip(60),
      pse: flip(60),
      pages1g: flip(60),
      pages2m: flip(80),
      sppTable: SPP_PAGE + 0x3000,
      pmlAddress: LOG_PAGE,
    };
    this.enter(flip(20) && ept);
    world.mmu.setContext();
  }

  private enter(hlat: boolean): void {
    const { space, stage, random } = this;
    const modes: [boolean, number][] = [
      [stage.accessedDirty, SpaceMode.ACCESSED_DIRTY],
      [stage.executeOnly, SpaceMode.EXECUTE_ONLY],
      [stage.modeBased, SpaceMode.MODE_BASED_EXECUTE],
      [stage.subPages, SpaceMode.SUB_PAGE_WRITE],
      [stage.log, SpaceMode.PAGE_LOG],
      [stage.pagingWrite, SpaceMode.PAGING_WRITE],
      [stage.pagingVerify, SpaceMode.PAGING_VERIFY],
      [hlat, SpaceMode.HLAT],
      [stage.advanced, SpaceMode.ADVANCED_INFORMATION],
      [stage.nx, SpaceMode.NX],
      [stage.pse, SpaceMode.PSE],
      [stage.pages1g, SpaceMode.PAGES_1G],
      [stage.pages2m, SpaceMode.PAGES_2M],
    ];
    Object.assign(space, {
      tag: 1 + random.below(5),
      stage: this.kind === 'ept' ? Stage.EPT : Stage.NPT,
      root: stage.root,
      paging: PAGING[stage.format],
      modes: modes.reduce((bits, [on, mode]) => (on ? bits | mode : bits), 0),
      sppTable: stage.sppTable,
      pmlAddress: stage.pmlAddress,
      hlatRoot: random.below(GUEST_TABLES) * 4096,
      hlatPrefix: random.pick([0, 1, 1, 17]),
    });
    this.world.apply();
    this.world.mmu.enterGuest(space);
  }

  private guestMode(): void {
    const { random, narrow } = this;
    const { registers: r } = this.world;
    const format = random.below(9);
    r.cr0 = Cr0.PE | (format === 0 ? 0 : Cr0.PG) | (random.chance(60) ? Cr0.WP : 0);
    r.cr4 = narrow ? 0 : Cr4.PAE;
    for (const bit of [Cr4.PSE, Cr4.SMEP, Cr4.SMAP]) if (random.chance(40)) r.cr4 |= bit;
    r.efer = random.chance(70) ? Efer.NXE : 0;
    if (!narrow && format >= 3) r.efer |= Efer.LMA | Efer.LME;
    if (!narrow && format >= 6) r.cr4 |= Cr4.LA57;
    r.cpl = random.pick([0, 0, 1, 3, 3]);
    r.ac = random.chance(40);
    r.cr3 = BigInt(random.below(GUEST_TABLES) << 12);
  }

  private randomLinear(mode: OracleMode): bigint {
    const { random } = this;
    const inPage = BigInt(random.below(4096));
    if (!mode.pg) return BigInt(random.below(9) << 12) | inPage | (random.chance(5) ? BigInt(random.bits() >>> 0) : 0n);
    if (!mode.pae) {
      const index = (): bigint => BigInt(random.pick(GUEST_SLOTS) * 2 + random.below(2));
      return (index() << 22n) | (index() << 12n) | inPage;
    }
    let linear = inPage;
    for (let shift = 12; shift <= 48; shift += 9) linear |= BigInt(random.pick(GUEST_SLOTS)) << BigInt(shift);
    if (!mode.lma) return (linear & 0x3fff_ffffn) | (BigInt(random.below(4)) << 30n);
    return BigInt.asUintN(64, BigInt.asIntN(mode.la57 ? 57 : 48, linear));
  }

  private mode(): OracleMode {
    const mode = { ...this.world.mode(), pdptesInMemory: this.kind === 'npt' };
    if ((this.space.modes & SpaceMode.HLAT) === 0) return mode;
    return { ...mode, hlat: { root: BigInt(this.space.hlatRoot), prefix: this.space.hlatPrefix } };
  }

  private oracle(): NestedOracle {
    const { memory } = this.world;
    return new NestedOracle(this.stage, (address) => memory.read32(address), isStagePage, isGuestPage, this.space.pmlIndex);
  }

  /** False: the rest of the step would compare what the flags themselves have changed. */
  private check(access: OracleAccess, tally: NestedTally): boolean {
    const { world, space, random } = this;
    space.pmlIndex = random.pick([511, 5, 0, 0, 0xffff, 512]);
    const mode = this.mode();
    const oracle = this.oracle();
    const expected = oracle.access(mode, access);
    const first = space.pmlIndex;
    const ok = world.translate(access);
    const reservedNow = oracle.firstEntryChanged && mode.pdptesInMemory === true && mode.pae && !mode.lma;
    if (oracle.overlap || reservedNow) {
      tally.overlap++;
      return false;
    }
    count(tally, expected);
    const got = this.outcome(ok);
    if (!sameResult(got, expected)) this.fail(access, got, expected);
    if (expected.outcome === 'stage') this.checkLinear(access);
    this.checkMemory(oracle, first, access);
    if (random.chance(4)) this.checkShadow(access, expected, tally);
    return true;
  }

  private setPdptes(): void {
    // EPT uses the PDPTE registers as they are; give them tables.
    for (let i = 0; i < 4; i++) this.world.mmu.setPdpte(i, (this.random.below(GUEST_TABLES) << 12) | (this.random.chance(95) ? 1 : 0), 0);
  }

  private outcome(ok: boolean): NestedResult {
    const { mmu } = this.world;
    if (ok) return { outcome: 'ok', physical: mmu.physical };
    if (mmu.fault === TranslationFault.PAGE_FAULT) return { outcome: 'page-fault', errorCode: mmu.errorCode };
    const { kind, guestPhysical, tableWalk, qualification, errorLow, errorHigh, suppressVe } = mmu.stageFault;
    return { outcome: 'stage', fault: { kind: FAULTS[kind]!, guestPhysical, tableWalk, qualification, errorLow, errorHigh, suppressVe } };
  }

  private checkLinear(access: OracleAccess): void {
    const { linearLo, linearHi, linearValid } = this.world.mmu.stageFault;
    const linear = (BigInt(linearHi >>> 0) << 32n) | BigInt(linearLo >>> 0);
    if (!linearValid || linear !== access.linear) throw new Error(`the fault names ${linear.toString(16)} for ${access.linear.toString(16)}`);
  }

  /** After an access that worked, the merged entry leads to the same place, and nothing but flags of writes is left to set. */
  private checkShadow(access: OracleAccess, expected: NestedResult, tally: NestedTally): void {
    if ((this.space.modes & SpaceMode.HLAT) !== 0) return;
    const shadow = this.world.mmu.shadow(Number(access.linear & 0xffff_ffffn) | 0, Number(access.linear >> 32n) | 0);
    if (shadow.steps.length > 35) throw new Error(`a walk of ${shadow.steps.length} entries`);
    if (expected.outcome !== 'ok') {
      this.checkRefusal(access, expected, shadow);
      return;
    }
    tally.shadow++;
    const left = shadow.duties.filter(({ when, flag }) => when === 'always' || (access.kind === 'write' && flag === 'dirty'));
    const rights = access.userMode ? shadow.entry?.user : shadow.entry?.supervisor;
    const allowed = access.kind === 'write' || rights?.[access.kind === 'read' ? 'read' : 'execute'] === true;
    if (shadow.entry?.physical !== expected.physical || left.length > 0 || !allowed) {
      throw new Error(`${describe(access)}: ${formatShadow(shadow).join('\n')}`);
    }
  }

  /** After an access that was refused for what the tables say, the merged entry refuses it too, and says why. */
  private checkRefusal(access: OracleAccess, expected: Exclude<NestedResult, { outcome: 'ok' }>, shadow: Shadow): void {
    const rights = access.userMode ? shadow.entry?.user : shadow.entry?.supervisor;
    const allowed = rights?.[access.kind === 'fetch' ? 'execute' : access.kind] === true;
    let good = true;
    if (expected.outcome === 'page-fault') {
      const { P, RSVD } = PageFault;
      if ((expected.errorCode & P) === 0) good = shadow.outcome === 'guest-not-present';
      else if ((expected.errorCode & RSVD) !== 0) good = shadow.outcome === 'guest-reserved';
    } else if (expected.fault.kind === 'misconfiguration') good = shadow.outcome === 'nested-misconfigured';
    else if (expected.fault.kind === 'violation' && !expected.fault.tableWalk && (this.space.modes & SpaceMode.PAGING_VERIFY) === 0) good = !allowed;
    if (!good) throw new Error(`${describe(access)}: ${JSON.stringify(expected)}\n${formatShadow(shadow).join('\n')}`);
  }

  private checkMemory(oracle: NestedOracle, first: number, access: OracleAccess): void {
    const { world, space } = this;
    for (const [address, value] of oracle.changed) {
      const got = world.memory.read32(address);
      if (got !== value) throw new Error(`after ${describe(access)} word ${address.toString(16)} is ${got.toString(16)}, not ${value.toString(16)}`);
    }
    const logged = (first - space.pmlIndex) & 0xffff;
    if (logged !== oracle.logged.length) throw new Error(`${logged} pages logged, not ${oracle.logged.length}`);
    oracle.logged.forEach((page, i) => {
      const at = LOG_PAGE + (first - i) * 8;
      const entry = world.memory.read32(at) + world.memory.read32(at + 4) * 2 ** 32;
      if (entry !== page) throw new Error(`logged ${entry.toString(16)}, not ${page.toString(16)}`);
    });
  }

  /** What the TLB offers must be what fresh walks say, with no flag left to set. */
  private checkCached(linear: bigint, tally: NestedTally): void {
    const { world } = this;
    for (const kind of KINDS) {
      const at = world.lookup(kind, linear);
      if (at < 0) continue;
      tally.cached++;
      const access = world.access(kind, linear);
      const oracle = this.oracle();
      const fresh = oracle.access(this.mode(), access);
      const good = fresh.outcome === 'ok' && oracle.changed.size === 0 && world.memory.arenaOffsetOf(fresh.physical) === at;
      if (!good && !oracle.overlap) this.fail(access, { outcome: 'ok', physical: at }, fresh);
    }
  }

  private fail(access: OracleAccess, got: NestedResult, expected: NestedResult): never {
    const mode = Object.entries(this.stage).map(([name, value]) => `${name}=${String(value)}`);
    throw new Error(
      `${describe(access)}\n got ${JSON.stringify(got)}\nwant ${JSON.stringify(expected)}\n${mode.join(' ')} narrow=${this.narrow}\n` +
        JSON.stringify(this.world.registers, (_key, v: unknown) => (typeof v === 'bigint' ? v.toString(16) : v)) +
        JSON.stringify(this.space),
    );
  }
}

const describe = ({ kind, linear, userMode }: OracleAccess): string => `${kind} of ${linear.toString(16)} (${userMode ? 'user' : 'supervisor'})`;

function sameResult(a: NestedResult, b: NestedResult): boolean {
  if (a.outcome === 'ok') return b.outcome === 'ok' && a.physical === b.physical;
  if (a.outcome === 'page-fault') return b.outcome === 'page-fault' && a.errorCode === b.errorCode;
  if (b.outcome !== 'stage') return false;
  return (Object.keys(b.fault) as (keyof typeof b.fault)[]).every((key) => a.fault[key] === b.fault[key]);
}

function count(tally: NestedTally, result: NestedResult): void {
  if (result.outcome === 'ok') tally.ok++;
  else if (result.outcome === 'page-fault') tally.pageFault++;
  else if (result.fault.kind === 'violation') {
    tally.violation++;
    if (result.fault.tableWalk) tally.table++;
  } else if (result.fault.kind === 'misconfiguration') tally.misconfiguration++;
  else if (result.fault.kind === 'log-full') tally.log++;
  else tally.subPage++;
}
