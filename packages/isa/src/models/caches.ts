import type { CpuDescription } from './cpu-model.js';

/** One cache: level, type (1 data, 2 instruction, 3 unified), and its shape. `shared`: by all cores of a socket. */
export interface CacheRow {
  readonly level: number;
  readonly type: 1 | 2 | 3;
  readonly kib: number;
  readonly ways: number;
  readonly sets: number;
  readonly lineBytes: number;
  readonly shared?: boolean;
  readonly inclusive?: boolean;
  readonly complexIndexing?: boolean;
  readonly selfInitializing?: boolean;
  /** Write-back invalidate does not reach lower levels (leaf 4 EDX bit 0 set means: not guaranteed). */
  readonly noInvalidateSharing?: boolean;
}

const l1 = (type: 1 | 2, kib: number, ways: number): CacheRow => ({
  level: 1,
  type,
  kib,
  ways,
  sets: (kib * 1024) / (ways * 64),
  lineBytes: 64,
  selfInitializing: true,
  noInvalidateSharing: true,
});
const l3 = (kib: number, ways: number): CacheRow => ({
  level: 3,
  type: 3,
  kib,
  ways,
  sets: (kib * 1024) / (ways * 64),
  lineBytes: 64,
  shared: true,
  selfInitializing: true,
  inclusive: true,
  complexIndexing: true,
});

/** What models without own facts announce in leaf 4. */
const generic: readonly CacheRow[] = [
  l1(1, 32, 8),
  l1(2, 32, 8),
  { level: 2, type: 3, kib: 4096, ways: 16, sets: 4096, lineBytes: 64, selfInitializing: true, noInvalidateSharing: true },
  l3(16384, 16),
];
const zen2 = (instruction: CacheRow, l3Kib: number, l2Kib = 512): readonly CacheRow[] => [
  l1(1, 32, 8),
  instruction,
  { level: 2, type: 3, kib: l2Kib, ways: 8, sets: (l2Kib * 1024) / (8 * 64), lineBytes: 64, inclusive: true },
  l3(l3Kib, 16),
];

/** Caches by model family name; anything else has the generic set. */
const byModel: readonly (readonly [RegExp, readonly CacheRow[]])[] = [
  [/^(EPYC-Genoa)/, zen2(l1(2, 32, 8), 32768, 1024)],
  [/^(EPYC-Milan)/, zen2(l1(2, 32, 8), 32768)],
  [/^(EPYC-Rome)/, zen2(l1(2, 32, 8), 16384)],
  [/^(EPYC|Dhyana)/, zen2(l1(2, 64, 4), 8192)],
];

/** The caches of a model. */
export const cachesOf = (cpu: CpuDescription): readonly CacheRow[] => byModel.find(([pattern]) => pattern.test(cpu.name))?.[1] ?? generic;

/** One cache as the registers of leaf 4 (Intel) or 0x8000001d (AMD); `intel` adds the number of cores to EAX. */
export function cacheRegisters(cache: CacheRow, cpu: CpuDescription, intel: boolean): { eax: number; ebx: number; ecx: number; edx: number } {
  const { cores, threads } = cpu.topology;
  const sharing = cache.shared ? powerOfTwoAbove(cores) * powerOfTwoAbove(threads) : powerOfTwoAbove(threads);
  return {
    eax:
      (cache.type |
        (cache.level << 5) |
        (cache.selfInitializing ? 1 << 8 : 0) |
        ((sharing - 1) << 14) |
        (intel ? (powerOfTwoAbove(cores) - 1) << 26 : 0)) >>>
      0,
    ebx: ((cache.lineBytes - 1) | ((cache.ways - 1) << 22)) >>> 0,
    ecx: cache.sets - 1,
    edx: (cache.noInvalidateSharing ? 1 : 0) | (cache.inclusive ? 2 : 0) | (cache.complexIndexing ? 4 : 0),
  };
}

/** Smallest power of two that is not below `n`: widths of APIC-id fields are whole bits. */
export function powerOfTwoAbove(n: number): number {
  let power = 1;
  while (power < n) power *= 2;
  return power;
}
