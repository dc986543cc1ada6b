import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { describe, expect, it } from 'vitest';
import type { OracleAccess, OracleMode, OracleResult } from './oracle.js';
import { oracle } from './oracle.js';
import { Random } from './random.js';
import { createGuest, HIGH_RAM, World } from './world.js';

const CASES = 1_000_000;
/** Eight table pages; in each, only these slots of 8 bytes (two of 4 bytes each) are ever used. */
const TABLES = 8;
const SLOTS = [0, 1, 0x155, 0x1ff];
const KINDS = ['read', 'write', 'fetch'] as const;
const WIDTHS = [36, 39, 40, 52];

/** A random entry, biased so that many walks complete. */
function randomEntry(random: Random): { low: number; high: number } {
  let low = (random.below(TABLES + 1) << 12) | (random.chance(96) ? 1 : 0) | (random.chance(88) ? 2 : 0) | (random.chance(88) ? 4 : 0);
  low |= random.bits() & (random.chance(50) ? 0x178 : 0x38);
  if (random.chance(16)) low |= 0x80;
  if (random.chance(3)) low ^= 1 << random.below(32);
  let high = random.chance(8) ? 1 : 0;
  if (random.chance(6)) high |= 1 << 31;
  if (random.chance(2)) high |= 1 << random.below(20);
  if (random.chance(40)) high |= random.bits() & (random.chance(90) ? 0x7800_0000 : 0x7ff0_0000);
  // Large pages need clear bits below their size most of the time, or nothing but reserved-bit faults is seen.
  if ((low & 0x80) !== 0 && random.chance(85)) low &= 0x1fff | (random.chance(20) ? random.bits() & 0xffe0_0000 : 0);
  if (random.chance(1)) {
    low = random.bits();
    high = random.bits();
  }
  return { low, high };
}

/** The tables of one guest: random edits, and snapshots to see what a walk wrote. */
class TableFarm {
  /** Guest-physical addresses and arena indices of the words in use. */
  readonly words: number[] = [];
  private readonly indices: Int32Array;

  constructor(
    readonly world: World,
    readonly narrow: boolean,
  ) {
    for (let table = 0; table < TABLES; table++) for (const slot of SLOTS) this.words.push(table * 4096 + slot * 8, table * 4096 + slot * 8 + 4);
    this.indices = Int32Array.from(this.words, (address) => world.memory.arenaOffsetOf(address) / 4);
  }

  /** Changes `count` random entries; in 4-byte formats the second half is an entry of its own. */
  edit(random: Random, count: number): void {
    for (let i = 0; i < count; i++) {
      const { low, high } = randomEntry(random);
      const pair = random.below(this.words.length / 2) * 2;
      this.world.arena.i32[this.indices[pair]!] = low;
      this.world.arena.i32[this.indices[pair + 1]!] = this.narrow ? randomEntry(random).low : high;
    }
  }

  snapshot(): Int32Array {
    return this.indices.map((index) => this.world.arena.i32[index]!);
  }
}

function randomMode(world: World, random: Random, narrow: boolean): void {
  const { registers: r } = world;
  const format = random.below(9);
  r.cr0 = Cr0.PE | (format === 0 ? 0 : Cr0.PG) | (random.chance(60) ? Cr0.WP : 0);
  r.cr4 = narrow ? 0 : Cr4.PAE;
  for (const bit of [Cr4.PSE, Cr4.SMEP, Cr4.SMAP, Cr4.PKE, Cr4.PKS, Cr4.PGE]) if (random.chance(50)) r.cr4 |= bit;
  r.efer = random.chance(70) ? Efer.NXE : 0;
  if (!narrow && format >= 3) r.efer |= Efer.LMA | Efer.LME;
  if (!narrow && format >= 6) r.cr4 |= Cr4.LA57;
  r.cpl = random.pick([0, 0, 1, 2, 3, 3, 3]);
  r.ac = random.chance(40);
  r.pkru = random.bits() & random.bits();
  r.pkrs = random.bits() & random.bits();
  r.cr3 = BigInt(random.below(TABLES) << 12) | (random.chance(3) && (r.efer & Efer.LMA) !== 0 ? BigInt(HIGH_RAM) : 0n);
}

/** A linear address whose table indices are slots in use, in every format. */
function randomLinear(random: Random, mode: OracleMode): bigint {
  const inPage = BigInt(random.below(4096));
  if (!mode.pg || (!mode.pae && random.chance(10))) return BigInt((random.bits() & ~0xfff) >>> 0) | inPage;
  if (!mode.pae) {
    const index = (): bigint => BigInt(random.pick(SLOTS) * 2 + random.below(2));
    return (index() << 22n) | (index() << 12n) | inPage;
  }
  let linear = inPage;
  for (let shift = 12; shift <= 48; shift += 9) linear |= BigInt(random.pick(SLOTS)) << BigInt(shift);
  if (!mode.lma) return (linear & 0x3fff_ffffn) | (BigInt(random.below(4)) << 30n);
  return BigInt.asUintN(64, BigInt.asIntN(mode.la57 ? 57 : 48, linear));
}

interface Tally {
  mapped: number;
  notPresent: number;
  reserved: number;
  key: number;
  denied: number;
  updates: number;
  large: number;
  cached: number;
  shadow: number;
}

function count(tally: Tally, access: OracleAccess, result: OracleResult): void {
  if (result.ok) {
    tally.mapped++;
    if (result.updates.length > 0) tally.updates++;
    if (result.pageBytes > 4096n) tally.large++;
    if (access.shadowStack === true) tally.shadow++;
  } else if ((result.errorCode & 1) === 0) tally.notPresent++;
  else if ((result.errorCode & 8) !== 0) tally.reserved++;
  else if ((result.errorCode & 32) !== 0) tally.key++;
  else tally.denied++;
}

/** Compares what the TLB offers for an address with the manual, for all three kinds of access. Returns the number of entries seen. */
function checkCached(world: World, linear: bigint, mode: OracleMode): number {
  let seen = 0;
  for (const kind of KINDS) {
    const at = world.lookup(kind, linear);
    if (at < 0) continue;
    seen++;
    const result = oracle(mode, world.access(kind, linear));
    if (!result.ok || result.updates.length > 0 || world.memory.arenaOffsetOf(Number(result.physical)) !== at) {
      throw new Error(
        `the TLB offers ${kind} of ${linear.toString(16)} at ${at}, the manual says ${JSON.stringify(result, (_k, v: unknown) => String(v))}`,
      );
    }
  }
  return seen;
}

function checkAccess(farm: TableFarm, access: OracleAccess, mode: OracleMode, tally: Tally): void {
  const { world } = farm;
  const before = farm.snapshot();
  const expected = oracle(mode, access);
  count(tally, access, expected);
  const ok = world.translate(access);
  const got = ok ? { ok, physical: BigInt(world.mmu.physical) } : { ok, errorCode: world.mmu.errorCode };
  const want = expected.ok ? { ok: true, physical: expected.physical } : expected;
  if (ok !== want.ok || ('physical' in got ? got.physical !== (want as typeof got).physical : got.errorCode !== (want as typeof got).errorCode)) {
    expect({ ...got, access, registers: world.registers }).toEqual({ ...want, access, registers: world.registers });
  }
  const after = farm.snapshot();
  if (expected.ok) for (const update of expected.updates) patch(farm, before, update.address, update.after);
  for (let i = 0; i < before.length; i++) if (before[i] !== after[i]) expect([farm.words[i], after[i]]).toEqual([farm.words[i], before[i]]);
}

function patch(farm: TableFarm, words: Int32Array, address: bigint, value: number): void {
  const index = farm.words.indexOf(Number(address));
  if (index >= 0) words[index] = value;
}

describe('random tables against the naive walker', () => {
  it(`agrees on ${CASES.toLocaleString('en')} configurations and accesses`, { timeout: 600_000 }, () => {
    const random = new Random(20_240_607);
    const farms = WIDTHS.flatMap((maxPhysicalAddress, i) =>
      [true, false, false].map((narrow) => {
        const { arena, memory } = createGuest();
        return new TableFarm(new World(arena, memory, { maxPhysicalAddress, pages1g: i !== 0, banks: 2 }), narrow);
      }),
    );
    const tally: Tally = { mapped: 0, notPresent: 0, reserved: 0, key: 0, denied: 0, updates: 0, large: 0, cached: 0, shadow: 0 };
    for (const farm of farms) farm.edit(random, 200);
    for (let i = 0; i < CASES; i++) {
      const farm = random.pick(farms);
      const { world } = farm;
      farm.edit(random, 3);
      if (random.chance(50)) randomMode(world, random, farm.narrow);
      world.mmu.flushAll();
      world.apply();
      loadPdptes(world, random);
      const mode = world.mode();
      const linear = randomLinear(random, mode);
      const userMode = random.chance(85) ? world.registers.cpl === 3 : random.chance(50);
      const kind = random.pick(KINDS);
      // CR4.CET, without which there are none, needs CR0.WP.
      const shadowStack = mode.pg && mode.wp && kind !== 'fetch' && random.chance(25);
      checkAccess(farm, { linear, kind, userMode, implicit: !shadowStack && !userMode && random.chance(15), shadowStack }, mode, tally);
      tally.cached += checkCached(world, linear, mode);
    }
    console.log(`page walks: ${CASES} random configurations and accesses agree: ${JSON.stringify(tally)}`);
    expect(Math.min(tally.mapped, tally.notPresent, tally.reserved, tally.denied)).toBeGreaterThan(CASES / 50);
    expect(Math.min(tally.key, tally.updates, tally.large, tally.cached)).toBeGreaterThan(CASES / 200);
    expect(tally.shadow).toBeGreaterThan(CASES / 5000);
  });
});

/** Under PAE paging, loads PDPTE registers as MOV CR3 does, against the manual's rule for reserved bits. */
function loadPdptes(world: World, random: Random): void {
  const mode = world.mode();
  if (!mode.pg || !mode.pae || mode.lma) return;
  // Four entries next to each other in page 9, which no walk uses as a table.
  const base = 0x9000 + random.below(4) * 32;
  const entries: bigint[] = [];
  for (let i = 0; i < 4; i++) {
    const low = (random.below(TABLES) << 12) | (random.chance(90) ? 1 : 0) | (random.chance(3) ? 1 << random.below(9) : 0);
    const high = random.chance(3) ? 1 << random.below(32) : 0;
    world.memory.write32(base + i * 8, low);
    world.memory.write32(base + i * 8 + 4, high);
    entries.push((BigInt(high >>> 0) << 32n) | BigInt(low));
  }
  const legal = entries.every(
    (entry) => (entry & 1n) === 0n || ((entry & 0x1e6n) === 0n && entry >> BigInt(world.options.maxPhysicalAddress) === 0n),
  );
  expect(world.mmu.loadPdptes(base)).toBe(legal);
  expect(world.mode().pdpte).toEqual(legal ? entries : mode.pdpte);
}
