import { buildModule, type FunctionDefinition } from '@nestvm/emit';
import { Cr0, Cr4, Efer, Rflags, vcpuState } from '@nestvm/isa';
import { createArena, PageFlag, PhysicalMemory, WRITE_TRAP } from '@nestvm/memory';
import { Access, createGuestSpace, type GuestSpace, Journal, Mmu, Paging, plainWalk, SpaceMode, Stage, TLB_BANK_BYTES } from '@nestvm/mmu';
import { describe, expect, it } from 'vitest';
import { walks } from '../src/interpreter/page-walk.js';

const CASES = 20_000;
const RAM_BYTES = 0x1_0000;
const HIGH_RAM = 0x1_0000_0000;
const TABLES = 8;
const SLOTS = [0, 1, 0x155, 0x1ff];
const KINDS = ['READ', 'WRITE', 'EXEC'] as const;
const at = vcpuState.offset;

/** A generator of our own, so that a failure can be repeated. */
class Random {
  constructor(private state: number) {}

  below(count: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % count;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

/** One vCPU state with its MMU. */
class Side {
  readonly base: number;
  readonly mmu: Mmu;

  constructor(private readonly memory: PhysicalMemory) {
    this.base = memory.arena.allocate('vcpu', vcpuState.size);
    this.mmu = new Mmu({ memory, vcpuBase: this.base, banks: 2 });
  }

  set(field: keyof typeof at, value: number): void {
    this.memory.arena.i32[(this.base + at[field]) / 4] = value;
  }

  get(field: keyof typeof at): number {
    return this.memory.arena.i32[(this.base + at[field]) / 4]!;
  }

  /** The bank in force, and its journal with places relative to the bank. */
  contents(): number[] {
    const { u8, i32 } = this.memory.arena;
    const bank = this.get('tlbRead');
    const walk = this.get('walk');
    if (walk === 0) return [];
    const journal = i32[(walk + plainWalk.offset.journal) / 4]!;
    const fills = i32[(journal + Journal.FILLS) / 4]!;
    const log = Array.from({ length: 2 * Math.min(fills, 256) }, (_, i) => i32[(journal + Journal.LOG) / 4 + i]! - bank / 4);
    const entries = new BigInt64Array(u8.slice(bank, bank + TLB_BANK_BYTES).buffer);
    const valid = [...entries.keys()].filter((i) => i % 2 === 0 && entries[i] !== -1n);
    const filter = i32.slice((journal + Journal.LARGE) / 4, (journal + Journal.LOG) / 4);
    return [fills, ...log, ...valid, ...valid.flatMap((i) => [Number(entries[i]), Number(entries[i + 1])]), ...filter];
  }
}

const arena = createArena({ bytes: 8 << 20 });
const memory = new PhysicalMemory({ arena });
memory.mapRam(0, RAM_BYTES, arena.allocate('ram', RAM_BYTES, 4096));
memory.mapRam(HIGH_RAM, RAM_BYTES / 2, arena.allocate('high ram', RAM_BYTES / 2, 4096));
memory.mapRom(0xf_0000, 4096, arena.allocate('rom', 4096, 4096));
// The first write to a page is noted by the MMU alone, which then has it: here all have been written.
for (let page = 0; page < arena.bytes / 4096; page++) memory.dirtyLog.mark(page);
const sides = [new Side(memory), new Side(memory)] as const;
const pages = arena.bytes / 65536;
const bytes = buildModule({ frame: { memoryPages: pages, memoryMaximum: pages }, functions: Object.values(walks) as FunctionDefinition[] });
const walker = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory: arena.memory } }).exports as Record<
  string,
  (cpu: number, linear: bigint) => number
>;

function edit(random: Random): void {
  const entry = memory.arenaOffsetOf(random.below(TABLES) * 4096 + SLOTS[random.below(4)]! * 8) / 4;
  let low = (random.below(TABLES + 4) << 12) | 0x27 | (random.chance(70) ? 0x40 : 0);
  if (random.chance(15)) low = (low & 0xfff) | 0x80 | (random.below(2) << 12);
  if (random.chance(15)) low &= ~(1 << random.below(8));
  let high = random.chance(10) ? 1 : 0;
  if (random.chance(8)) high |= 1 << 31;
  if (random.chance(2)) high |= 1 << random.below(20);
  if (random.chance(8)) high |= random.below(16) << 27;
  if (random.chance(3)) low = (low & 0xfff) | 0xf_0000;
  arena.i32[entry] = low;
  arena.i32[entry + 1] = high;
}

/** Pages of the second stage's tables: of one page table, and those above it, the root of five levels last. */
const STAGE_TABLES = [11, 10, 9, 8, 12] as const;

/** Sets one entry of the second stage's tables: mostly the page itself and everything allowed, under EPT as under nested page tables (0x067 and 0xb07 without large pages). */
function editStage(random: Random, ept: boolean): void {
  const level = random.chance(70) ? 0 : random.below(STAGE_TABLES.length);
  const index = level === 0 ? random.below(16) : 0;
  const next = level === 0 ? (random.chance(80) ? index : random.below(16)) : STAGE_TABLES[level - 1]!;
  const rights = ept ? 0x307 | (level === 0 ? 0x30 : 0) : 0x67;
  let low = (next << 12) | rights;
  if (level > 0 && random.chance(20)) low = rights | 0x80 | (ept ? 0x30 : 0) | (random.chance(20) ? random.below(2) << 12 : 0);
  if (random.chance(25)) low &= ~(1 << random.below(10));
  let high = random.chance(5) ? 1 << 31 : 0;
  if (random.chance(2)) high |= 1 << random.below(20);
  const entry = memory.arenaOffsetOf(STAGE_TABLES[level]! * 4096 + index * 8) / 4;
  arena.i32[entry] = low;
  arena.i32[entry + 1] = high;
}

/** All of the second stage's tables anew. */
function stageOf(random: Random): GuestSpace {
  const ept = random.chance(50);
  const pick = (percent: number, bit: number): number => (random.chance(percent) ? bit : 0);
  const paging = random.chance(50) ? Paging.LEVEL4 : Paging.LEVEL5;
  for (let i = 0; i < 16; i++) fillStage(0, i, ept ? 0x337 : 0x67, i);
  for (let level = 1; level < STAGE_TABLES.length; level++) fillStage(level, 0, ept ? 0x307 : 0x67, STAGE_TABLES[level - 1]!);
  for (let i = random.below(6); i > 0; i--) editStage(random, ept);
  const modes = pick(70, SpaceMode.ACCESSED_DIRTY) | pick(70, SpaceMode.PAGES_2M) | pick(70, SpaceMode.PAGES_1G) | pick(80, SpaceMode.NX);
  return {
    ...createGuestSpace(),
    tag: 1,
    stage: ept ? Stage.EPT : Stage.NPT,
    root: STAGE_TABLES[paging === Paging.LEVEL5 ? 4 : 3] * 4096,
    paging,
    modes,
    apicAccessPage: random.chance(20) ? random.below(16) : -1,
    apicGuestPage: random.chance(20) ? random.below(16) : -1,
  };
}

function fillStage(level: number, index: number, rights: number, next: number): void {
  const entry = memory.arenaOffsetOf(STAGE_TABLES[level]! * 4096 + index * 8) / 4;
  arena.i32[entry] = (next << 12) | rights;
  arena.i32[entry + 1] = 0;
}

function randomMode(random: Random): void {
  const pick = (percent: number, bit: number): number => (random.chance(percent) ? bit : 0);
  const cr4 = Cr4.PAE | pick(50, Cr4.LA57) | pick(40, Cr4.SMEP) | pick(40, Cr4.SMAP) | pick(30, Cr4.PKE) | pick(20, Cr4.PKS);
  const cr0 = Cr0.PE | Cr0.PG | pick(70, Cr0.WP);
  const efer = Efer.LMA | Efer.LME | pick(80, Efer.NXE);
  const cpl = random.chance(50) ? 3 : 0;
  const rflags = Rflags.ONE | pick(30, Rflags.AC);
  const pkru = random.chance(80) ? 0x5555_5554 : random.below(16);
  const pkrs = random.chance(80) ? 0xcc : random.below(16);
  const cr3 = random.below(TABLES) << 12;
  const space = random.chance(60) ? stageOf(random) : null;
  for (const side of sides) {
    for (const [field, value] of Object.entries({ cr0, cr3, cr4, efer, cpl, rflags, pkru, pkrs })) side.set(field as keyof typeof at, value);
    side.mmu.forgetEverything();
    if (space === null) side.mmu.leaveGuest();
    else side.mmu.enterGuest(space);
    side.mmu.setContext();
  }
}

function randomAddress(random: Random): bigint {
  let linear = BigInt(random.below(4096));
  for (const shift of [12n, 21n, 30n, 39n, 48n]) linear |= BigInt(SLOTS[random.below(4)]!) << shift;
  const bits = (sides[0].get('cr4') & Cr4.LA57) !== 0 ? 57 : 48;
  return random.chance(2) ? linear : BigInt.asUintN(64, BigInt.asIntN(bits, linear));
}

const tables = (): string => Buffer.from(arena.u8.slice(memory.arenaOffsetOf(0), memory.arenaOffsetOf(0) + RAM_BYTES)).toString('latin1');
const restore = (saved: string): void => arena.u8.set(Buffer.from(saved, 'latin1'), memory.arenaOffsetOf(0));

describe('walks in generated code', () => {
  it('find, mark and fill what the MMU does, and give up on everything else without a trace', () => {
    const random = new Random(20240611);
    const seen = { walked: 0, nested: 0, owed: 0, marked: 0 };
    for (let i = 0; i < 400; i++) edit(random);
    for (let n = 0; n < CASES; n++) {
      if (n % 4 === 0) edit(random);
      if (n % 8 === 0) randomMode(random);
      if (n % 16 === 0) {
        const page = memory.arenaOffsetOf(random.below(16) * 4096) / 4096;
        if (random.chance(50)) memory.setFlag(page, random.chance(50) ? PageFlag.CODE : PageFlag.WATCHED);
        else memory.clearFlag(page, PageFlag.CODE | PageFlag.WATCHED);
      }
      const linear = randomAddress(random);
      const kind = random.below(3);
      const [one, two] = sides;
      for (const { mmu } of sides) mmu.forgetEverything();
      const before = tables();
      const isPlain = one.get('walk') !== 0 && (one.get('cr4') & (Cr4.PKE | Cr4.PKS)) === 0;
      const host = walker[`walk${KINDS[kind]!}`]!(one.base, BigInt.asIntN(64, linear)) >>> 0;
      const after = tables();
      expect(host !== 0 || after === before, `case ${n}: tables are as they were`).toBe(true);
      restore(before);
      const isCanonical = BigInt.asIntN((one.get('cr4') & Cr4.LA57) !== 0 ? 57 : 48, linear) === BigInt.asIntN(64, linear);
      const [lo, hi] = [Number(linear & 0xffff_ffffn) | 0, Number(linear >> 32n) | 0];
      const done = isCanonical && two.mmu.translate(lo, hi, [Access.READ, Access.WRITE, Access.EXECUTE][kind]!, two.get('cpl') === 3);
      const owed = tables() !== before;
      if (host !== 0) {
        expect([done, two.mmu.arenaOffset], `case ${n}: ${KINDS[kind]} of ${linear.toString(16)}`).toEqual([true, host]);
        expect(after === tables(), `case ${n}: accessed and dirty flags`).toBe(true);
        expect(one.contents(), `case ${n}: the TLB`).toEqual(two.contents());
        seen.walked++;
        if (owed) seen.marked++;
        if (one.mmu.inGuest) seen.nested++;
      } else if (done && isPlain) {
        const { arenaOffset } = two.mmu;
        const isRom = memory.arenaOffsetOf(0xf_0000) === arenaOffset - (arenaOffset % 4096);
        const isTrapped = kind === 1 && arenaOffset >= 0 && (memory.pageFlags[Math.floor(arenaOffset / 4096)]! & WRITE_TRAP) !== 0;
        expect(owed || arenaOffset < 0 || isRom || isTrapped, `case ${n}: ${KINDS[kind]} of ${linear.toString(16)} was given up for nothing`).toBe(
          true,
        );
        seen.owed++;
      }
    }
    expect(seen.walked).toBeGreaterThan(CASES / 40);
    expect(seen.nested).toBeGreaterThan(CASES / 100);
    expect(seen.owed).toBeGreaterThan(100);
    expect(seen.marked).toBeGreaterThan(20);
  });
});
