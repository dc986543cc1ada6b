import { updateMode } from '@nestvm/cpu';
import { vcpuState } from '@nestvm/isa';
import { createLevel, type Level } from '../level.js';
import { createRandom } from '../random.js';

const ACTIVITY = vcpuState.offset.activity / 4;
const SHUTDOWN = 2;
/** Bytes from 0 on that hold all that L1 needs, and how many rounds they may go unseen: what exits store can go anywhere. */
const LOW_MEMORY = 0x6_0000;
const MEMORY_ROUNDS = 64;
const PAGE = 4096;
const present = new Uint8Array(PAGE);

/** Puts those pages back that differ, in the way of a store by a device, so that decoded code is forgotten. */
function restoreMemory({ memory }: Level, saved: Uint8Array): void {
  for (let at = 0; at < LOW_MEMORY; at += PAGE) {
    const page = saved.subarray(at, at + PAGE);
    memory.read(at, present);
    if (Buffer.compare(present, page) !== 0) memory.write(at, page);
  }
}

/** Puts the registers of L1 back, as loading a snapshot does, and leaves no translation of an earlier round. */
function restore({ cpu, vmx }: Level, saved: Int32Array): void {
  cpu.w.set(saved);
  cpu.vectoring = 0;
  cpu.virtualization?.restored?.(cpu);
  vmx.mmu.forgetEverything();
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
  /** Puts L1 back to where it was when the machine was made; its memory too, when the last round has killed it or a while has passed. */
  readonly restore: () => void;
}

/** Makes a level; `prepare` writes what all rounds share. */
export function createFuzzMachine(seed: number, prepare: (level: Level) => void): FuzzMachine {
  const random = createRandom(seed);
  const level = createLevel('SapphireRapids,vmx=on');
  prepare(level);
  const saved = level.w.slice();
  const memory = new Uint8Array(LOW_MEMORY);
  level.memory.read(0, memory);
  let rounds = 0;
  return {
    level,
    random,
    value: () => (random.below(2) === 0 ? random.word() : EDGES[random.below(EDGES.length)]!),
    restore: () => {
      if (level.w[ACTIVITY] === SHUTDOWN || ++rounds % MEMORY_ROUNDS === 0) restoreMemory(level, memory);
      restore(level, saved);
    },
  };
}

/** Runs a fuzz, and tells on the console what came of it: one line, so that a nightly log shows how much was tried, and how dear it was. */
export function report<Counts extends Readonly<Record<string, number>>>(what: string, rounds: number, fuzz: () => Counts): Counts {
  const before = process.cpuUsage();
  const counts = fuzz();
  const { user, system } = process.cpuUsage(before);
  console.info(`${what}: ${rounds} rounds, ${Math.round((1e6 * rounds) / (user + system))} in a second of CPU time: ${listed(counts)}`);
  return counts;
}

const listed = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
