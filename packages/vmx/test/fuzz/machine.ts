import { updateMode, type Vcpu } from '@nestvm/cpu';
import { createLevel, type Level } from '../level.js';
import { createRandom } from '../random.js';

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

/** A level that is put back before each round, and numbers to spoil it with. */
export interface FuzzMachine {
  readonly level: Level;
  readonly random: ReturnType<typeof createRandom>;
  /** A word that is random, or near an edge. */
  readonly value: () => number;
  /** Puts L1 back to where it was when the machine was made. */
  readonly restore: () => void;
}

/** Makes a level; `prepare` writes what all rounds share. */
export function createFuzzMachine(seed: number, prepare: (level: Level) => void): FuzzMachine {
  const random = createRandom(seed);
  const level = createLevel('SapphireRapids,vmx=on');
  prepare(level);
  const saved = level.w.slice();
  return {
    level,
    random,
    value: () => (random.below(2) === 0 ? random.word() : EDGES[random.below(EDGES.length)]!),
    restore: () => restore(level.cpu, saved),
  };
}

/** What a run tells on the console: one line, so that a nightly log shows how much was tried and what came of it. */
export const formatCounts = (what: string, rounds: number, counts: Readonly<Record<string, number>>): string =>
  `${what}: ${rounds} rounds: ${Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ')}`;
