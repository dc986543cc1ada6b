/**
 * What a TLB miss costs at random pages, through one stage and through two (guest tables and EPT of four levels, 4 KiB pages): nanoseconds of CPU time, the best
 * of some rounds in turns. 2,000 pages miss the TLB's first level only; 16,384 miss both.
 */
import { Cr0, Cr4, Efer, vcpuState } from '@nestvm/isa';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Access, createGuestSpace, Mmu, Paging, SpaceMode, Stage } from '../src/index.js';

const MEBIBYTE = 1 << 20;
const BYTES = 128 * MEBIBYTE;
const GUEST_ROOT = MEBIBYTE;
const EPT_ROOT = 2 * MEBIBYTE;
const TIMES = 400_000;
const ROUNDS = 7;

/** Four levels that map 128 MiB to itself. */
function buildTables(memory: PhysicalMemory, root: number, table: number, leaf: number): void {
  memory.write32(root, (root + 0x1000) | table);
  memory.write32(root + 0x1000, (root + 0x2000) | table);
  for (let page = 0; page < BYTES / 4096; page++) {
    const pageTable = root + 0x10000 + (page >> 9) * 4096;
    if ((page & 511) === 0) memory.write32(root + 0x2000 + (page >> 9) * 8, pageTable | table);
    memory.write32(pageTable + (page & 511) * 8, (page << 12) | leaf);
  }
}

function createMmu(nested: boolean): Mmu {
  const arena = createArena({ bytes: BYTES + 16 * MEBIBYTE });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, BYTES, arena.allocate('ram', BYTES, 4096));
  const vcpuBase = arena.allocate('vcpu', vcpuState.size);
  const mmu = new Mmu({ memory, vcpuBase });
  buildTables(memory, GUEST_ROOT, 0x67, 0x67);
  buildTables(memory, EPT_ROOT, 0x107, 0x337);
  const registers = { cr0: Cr0.PE | Cr0.PG, cr4: Cr4.PAE, efer: Efer.LMA | Efer.LME | Efer.NXE, cr3: GUEST_ROOT, a20Mask: -1 };
  for (const [name, value] of Object.entries(registers)) arena.i32[(vcpuBase + vcpuState.offset[name as keyof typeof registers]) / 4] = value;
  if (nested) {
    const stage = { tag: 1, stage: Stage.EPT, root: EPT_ROOT, paging: Paging.LEVEL4, modes: SpaceMode.ACCESSED_DIRTY };
    mmu.enterGuest({ ...createGuestSpace(), ...stage });
  } else mmu.setContext();
  return mmu;
}

/** Microseconds of CPU for `TIMES` translations at random among `pages`. */
function run(mmu: Mmu, pages: number): number {
  let x = 42;
  const before = process.cpuUsage();
  for (let i = 0; i < TIMES; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    if (!mmu.translate(((x >>> 0) % pages) << 12, 0, (i & 1) === 0 ? Access.READ : Access.WRITE, false)) throw new Error(`fault ${mmu.fault}`);
  }
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

for (const pages of [2_000, 16_384]) {
  const mmus = [createMmu(false), createMmu(true)];
  const best = mmus.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, mmu] of mmus.entries()) best[i] = Math.min(best[i]!, run(mmu, pages));
  }
  const [one, two] = best.map((us) => (us * 1000) / TIMES);
  console.log(`${pages} pages: one stage ${one!.toFixed(0)} ns, two stages ${two!.toFixed(0)} ns, ratio ${(two! / one!).toFixed(2)}`);
}
