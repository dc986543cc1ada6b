import { updateMode, type Vcpu } from '@nestvm/cpu';
import { GUEST_MODE } from '@nestvm/cpu/extension';
import { vcpuState } from '@nestvm/isa';
import { writeValidVmcs } from '../src/checks/arrange.js';
import { F, fields, VmcsHeader } from '../src/fields/layout.js';
import { exitGuest } from '../src/transitions/exit.js';
import { ExitReason } from '../src/transitions/reasons.js';
import { createLevel, Place } from './level.js';
import { createRandom } from './random.js';

/** What happened to the launches of a run. */
export interface FuzzCounts {
  /** VMfailValid with error 7 or 8, failed entries, entries that ended with an exit, L2s that had to be stopped. */
  refused: number;
  failed: number;
  exited: number;
  stopped: number;
  /** L1 could not go on: a triple fault, or a VMX abort. */
  dead: number;
}

/** Puts the registers of L1 back, as loading a snapshot does. */
function restore(cpu: Vcpu, saved: Int32Array): void {
  cpu.w.set(saved);
  cpu.vectoring = 0;
  cpu.virtualization?.restored?.(cpu);
  cpu.mmu.flushAll();
  updateMode(cpu);
  cpu.requestAttention();
}

/** Values that are near the edges of what fields may hold. */
const EDGES = [0, 1, 2, -1, 0x7fff_ffff, 1 << 31, 0xfff, 0x1000, 0x3000, 0xffff, 0x1_0000, 0x2020, 0x8000_0031 | 0];

/**
 * Launches VMCSs that are valid but for some random fields. `skipChecks` pretends that all checks held before, as software that edits a VMCS region behind the
 * processor's back can: then the entry itself sees the garbage. An exception of the host ends the run: it is the bug that this looks for.
 */
export function fuzzLaunches(seed: number, launches: number, skipChecks: boolean): FuzzCounts {
  const random = createRandom(seed);
  const counts: FuzzCounts = { refused: 0, failed: 0, exited: 0, stopped: 0, dead: 0 };
  const level = createLevel();
  const { c, w, vmx, cpu } = level;
  level.prepareLaunch();
  const saved = w.slice();
  for (let launch = 0; launch < launches; launch++) {
    if (launch > 0) restore(cpu, saved);
    writeValidVmcs(c);
    for (const [word, value] of [
      [F.HOST_RIP, Place.L1_EXIT],
      [F.GUEST_RIP, Place.L2],
      [F.HOST_RSP, Place.L2_STACK],
      [F.GUEST_RSP, Place.L2_STACK],
    ] as const)
      c.set(word, value);
    const spoiled = random.below(4) === 0 ? fields.length : 1 + random.below(4);
    for (let i = 0; i < spoiled; i++) {
      const { word } = fields[spoiled === fields.length ? i : random.below(fields.length)]!;
      const lo = random.below(2) === 0 ? random.word() : EDGES[random.below(EDGES.length)]!;
      c.set(word, random.below(3) === 0 ? c.lo(word) ^ (1 << random.below(32)) : lo, random.below(4) === 0 ? random.word() : c.hi(word));
    }
    // Lists of thousands of MSRs are legal and slow.
    for (const word of [F.ENTRY_MSR_LOAD_COUNT, F.EXIT_MSR_STORE_COUNT, F.EXIT_MSR_LOAD_COUNT]) c.set(word, c.lo(word) & 7);
    c.set(F.EXIT_REASON, -1);
    if (skipChecks) c.i32[c.base + VmcsHeader.CLEAN_GROUPS] = 0x1fff;
    level.launch();
    if (w[GUEST_MODE] !== 0) {
      counts.stopped++;
      exitGuest(vmx, ExitReason.INIT);
    } else if (c.lo(F.EXIT_REASON) === -1) counts.refused++;
    else if (c.lo(F.EXIT_REASON) < 0) counts.failed++;
    else counts.exited++;
    if (w[vcpuState.offset.activity / 4] === 2) counts.dead++;
  }
  return counts;
}
