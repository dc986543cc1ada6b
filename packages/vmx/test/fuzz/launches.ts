import { GUEST_MODE } from '@nestvm/cpu/extension';
import { vcpuState } from '@nestvm/isa';
import { writeValidVmcs } from '../../src/checks/arrange.js';
import { F, fields, VmcsHeader } from '../../src/fields/layout.js';
import { exitGuest } from '../../src/transitions/exit.js';
import { ExitReason } from '../../src/transitions/reasons.js';
import { Place } from '../level.js';
import { createFuzzMachine, type FuzzMachine } from './machine.js';

/** What happened to the launches of a run. */
export interface LaunchCounts extends Record<string, number> {
  /** VMfailValid with error 7 or 8, failed entries, entries that ended with an exit, L2s that had to be stopped. */
  refused: number;
  failed: number;
  exited: number;
  stopped: number;
  /** L1 could not go on: a triple fault, or a VMX abort. */
  dead: number;
}

const emptyCounts = (): LaunchCounts => ({ refused: 0, failed: 0, exited: 0, stopped: 0, dead: 0 });

/** A valid VMCS whose host and guest run. */
export function arrangeVmcs({ level: { c } }: FuzzMachine): void {
  writeValidVmcs(c);
  for (const [word, value] of [
    [F.HOST_RIP, Place.L1_EXIT],
    [F.GUEST_RIP, Place.L2],
    [F.HOST_RSP, Place.L2_STACK],
    [F.GUEST_RSP, Place.L2_STACK],
  ] as const)
    c.set(word, value);
}

/** Launches what is arranged, and counts what comes of it. */
export function launchAndCount({ level }: FuzzMachine, counts: LaunchCounts): void {
  const { c, w, vmx } = level;
  // Not by `set`, which would have all checks made again.
  c.i32[c.base + F.EXIT_REASON] = -1;
  level.launch();
  if (w[GUEST_MODE] !== 0) {
    counts.stopped++;
    exitGuest(vmx, ExitReason.INIT);
  } else if (c.lo(F.EXIT_REASON) === -1) counts.refused++;
  else if (c.lo(F.EXIT_REASON) < 0) counts.failed++;
  else counts.exited++;
  if (w[vcpuState.offset.activity / 4] === 2) counts.dead++;
}

/** Lists of thousands of MSRs are legal and slow. */
const isCount = (word: number): boolean => word === F.ENTRY_MSR_LOAD_COUNT || word === F.EXIT_MSR_STORE_COUNT || word === F.EXIT_MSR_LOAD_COUNT;

/** A spoiled value of a field: low and high half. */
function spoil({ level: { c }, random, value }: FuzzMachine, word: number): readonly [number, number] {
  const lo = random.below(3) === 0 ? c.lo(word) ^ (1 << random.below(32)) : value();
  return [isCount(word) ? lo & 7 : lo, random.below(4) === 0 ? random.word() : c.hi(word)];
}

/**
 * Launches VMCSs that are valid but for some random fields, or random altogether. `edited`: the fields are written into the region behind the processor's back, which
 * is told that all checks held before, so that the entry itself sees the garbage; then any word of the page may change, too. An exception of the host ends the
 * run: it is the bug that this looks for.
 */
export function fuzzLaunches(seed: number, rounds: number, edited: boolean): LaunchCounts {
  const counts = emptyCounts();
  const machine = createFuzzMachine(seed, (level) => level.prepareLaunch());
  const { random } = machine;
  const { c } = machine.level;
  for (let round = 0; round < rounds; round++) {
    if (round > 0) machine.restore();
    arrangeVmcs(machine);
    const spoiled = random.below(4) === 0 ? fields.length : 1 + random.below(4);
    for (let i = 0; i < spoiled; i++) {
      const { word } = fields[spoiled === fields.length ? i : random.below(fields.length)]!;
      c.set(word, ...spoil(machine, word));
    }
    if (edited) {
      c.i32[c.base + VmcsHeader.CLEAN_GROUPS] = random.below(4) === 0 ? random.word() : 0x1fff;
      if (random.below(8) === 0) c.i32[c.base + random.below(1024)] = random.word();
      for (const word of [F.ENTRY_MSR_LOAD_COUNT, F.EXIT_MSR_STORE_COUNT, F.EXIT_MSR_LOAD_COUNT]) c.i32[c.base + word]! &= 7;
    }
    launchAndCount(machine, counts);
  }
  return counts;
}

const SCRIPT = 0x3_c000;
const ENTRY_BYTES = 16;

/**
 * The same through VMWRITE: L1 writes a script of fields and values, in one round of eight every field of the VMCS, and launches. The read-only fields are among
 * them, and encodings that do not exist.
 */
export function fuzzWrites(seed: number, rounds: number): LaunchCounts & { writes: number } {
  const counts = { ...emptyCounts(), writes: 0 };
  const machine = createFuzzMachine(seed, (level) => {
    level.prepareLaunch();
    level.prepareHost(
      `mov rsi, ${SCRIPT}\nmov ecx, [${SCRIPT - 8}]\nagain:\nmov rax, [rsi]\nmov rbx, [rsi+8]\nvmwrite rax, rbx\nadd rsi, 16\ndec ecx\njnz again\nvmlaunch\nhlt`,
    );
  });
  const { random, level } = machine;
  const { memory } = level;
  for (let round = 0; round < rounds; round++) {
    if (round > 0) machine.restore();
    arrangeVmcs(machine);
    const every = random.below(8) === 0;
    const writes = every ? fields.length : 1 + random.below(4);
    for (let i = 0; i < writes; i++) {
      const field = fields[every ? i : random.below(fields.length)]!;
      // Of all fields most keep their value, or nothing would ever be launched.
      const [lo, hi] = every && random.below(64) !== 0 ? [level.c.lo(field.word), level.c.hi(field.word)] : spoil(machine, field.word);
      const encoding = random.below(200) === 0 ? random.word() & 0x7fff : field.encoding;
      memory.write32(SCRIPT + ENTRY_BYTES * i, encoding);
      memory.write32(SCRIPT + ENTRY_BYTES * i + 4, 0);
      memory.write32(SCRIPT + ENTRY_BYTES * i + 8, lo >>> 0);
      memory.write32(SCRIPT + ENTRY_BYTES * i + 12, hi >>> 0);
    }
    memory.write32(SCRIPT - 8, writes);
    counts.writes += writes;
    launchAndCount(machine, counts);
  }
  return counts;
}
