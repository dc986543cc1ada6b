import { arrangeControl } from '../../src/checks/arrange.js';
import { exitReasonName } from '../../src/exits/qualification.js';
import { F } from '../../src/fields/layout.js';
import { ExitReason } from '../../src/transitions/reasons.js';
import { arrangeVmcs, type LaunchCounts, launchAndCount } from './launches.js';
import { createFuzzMachine, type FuzzMachine } from './machine.js';

const TABLES = [0x4_0000, 0x4_1000, 0x4_2000, 0x4_3000, 0x4_4000] as const;
/** Where no RAM is: a device, the end of memory, the end of physical addresses. */
const NOWHERE = [0xfee0_0000, 0x40_0000, 0xffff_f000];
const ENTRIES = 512;
/** A device whose every read gives something else: now and then an entry that leads to a table. */
const NOISE = 0xfeb0_0000;
const NOISE_BYTES = 0x1_0000;

/** An entry that leads somewhere: to a table (any of them, its own too: a loop), to a page, to nothing, or is garbage. */
function entry(machine: FuzzMachine): readonly [number, number] {
  const { random } = machine;
  const kind = random.below(10);
  if (kind < 4) return [TABLES[random.below(TABLES.length)]! | 7, 0];
  if (kind < 6) return [(random.below(2) << 21) | 0xb7, 0];
  if (kind < 7) return [NOWHERE[random.below(NOWHERE.length)]! | 7, 0];
  if (kind < 8) return [random.word(), random.word()];
  return [(random.word() & ~0x1ff) | (random.word() & 0x1ff & random.word()), random.below(4) === 0 ? random.word() : 0];
}

/** Spoils some entries of good tables for 2 MiB, the first of each mostly: those that every walk uses. */
function arrangeTables(machine: FuzzMachine): void {
  const { level, random } = machine;
  const { memory } = level;
  const put = (address: number, [lo, hi]: readonly [number, number]): void => {
    memory.write32(address, lo >>> 0);
    memory.write32(address + 4, hi >>> 0);
  };
  TABLES.forEach((table, i) => put(table, i < 2 ? [TABLES[i + 1]! | 7, 0] : [0xb7, 0]));
  for (let n = 1 + random.below(4); n > 0; n--) {
    const table = TABLES[random.below(TABLES.length)]!;
    put(table + 8 * (random.below(3) === 0 ? random.below(ENTRIES) : 0), entry(machine));
  }
}

/** EPTP bits: 4 or 5 levels, with and without accessed and dirty flags. `nowhere`: the root lies in a device, or in nothing at all. */
function pointer({ random }: FuzzMachine, nowhere: boolean): readonly [number, number] {
  const flags = (random.below(4) === 0 ? 0x26 : 0x1e) | (random.below(2) << 6);
  if (!nowhere) return [TABLES[0] | flags, 0];
  if (random.below(2) === 0) return [(NOISE + 0x1000 * random.below(NOISE_BYTES >> 12)) | flags, 0];
  return random.below(2) === 0 ? [NOWHERE[random.below(NOWHERE.length)]! | flags, 0] : [(random.word() & ~0xfff) | flags, 1 + random.below(0xff)];
}

/**
 * L2s under EPT tables that loop, lead to devices, or are garbage, with a root in MMIO now and then, or always (`nowhere`). Whatever is wrong with the tables must be
 * an EPT violation or misconfiguration, or be harmless.
 */
export function fuzzTables(seed: number, rounds: number, nowhere = false): LaunchCounts {
  const counts: LaunchCounts = { refused: 0, failed: 0, exited: 0, stopped: 0, dead: 0 };
  const machine = createFuzzMachine(seed, (level) => level.prepareLaunch());
  const { level, random } = machine;
  const { c } = level;
  const read = (): number => (random.below(2) === 0 ? 0 : random.below(2) === 0 ? TABLES[random.below(TABLES.length)]! | 7 : random.word() >>> 0);
  level.memory.mmio.claim({ name: 'noise', base: NOISE, size: NOISE_BYTES, read, write: () => {} });
  for (let round = 0; round < rounds; round++) {
    if (round > 0) machine.restore();
    arrangeVmcs(machine);
    arrangeControl(c, 'proc2', 'ENABLE_EPT', true);
    for (const key of ['MODE_BASED_EXECUTE_CONTROL', 'ENABLE_PML', 'SUB_PAGE_WRITE_PERMISSIONS', 'EPT_VIOLATION_VE'] as const)
      if (random.below(6) === 0) arrangeControl(c, 'proc2', key, true);
    for (const key of ['EPT_PAGING_WRITE_CONTROL', 'GUEST_PAGING_VERIFICATION'] as const)
      if (random.below(6) === 0) arrangeControl(c, 'proc3', key, true);
    arrangeTables(machine);
    const [lo, hi] = pointer(machine, nowhere || random.below(12) === 0);
    c.set(F.EPT_POINTER, lo, hi);
    launchAndCount(machine, counts);
    const reason = c.lo(F.EXIT_REASON);
    const name = reason < 0 ? 'no exit' : exitReasonName(reason);
    counts[name] = (counts[name] ?? 0) + 1;
    if (reason >= 0 && !ALLOWED.has(reason)) throw new Error(`round ${round}: exit ${name}`);
  }
  return counts;
}

/** What an L2 of CPUID and VMCALL may end with, whatever its tables are. */
const ALLOWED: ReadonlySet<number> = new Set([
  ExitReason.CPUID,
  ExitReason.VMCALL,
  ExitReason.TRIPLE_FAULT,
  ExitReason.EXCEPTION_OR_NMI,
  ExitReason.EPT_VIOLATION,
  ExitReason.EPT_MISCONFIGURATION,
  ExitReason.PAGE_LOG_FULL,
  ExitReason.SPP,
  ExitReason.INIT,
]);
