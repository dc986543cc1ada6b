import type { MsrDefinition } from '../msr/definition.js';
import type { Vcpu } from '../vcpu.js';
import { word } from '../words.js';
import { FIRST_FIXED, FIXED_COUNTERS, GENERAL_COUNTERS } from './counters.js';
import { Select } from './events.js';

const GLOBAL_STATUS = word('pmcGlobalStatus');
const GENERAL_MASK = (1 << GENERAL_COUNTERS) - 1;
const FIXED_MASK = (1 << FIXED_COUNTERS) - 1;
/** Of each fixed counter's four bits, the third (any thread) is not there in version 2. */
const FIXED_CONTROL_MASK = 0xbbb;
/** Bits of IA32_PERF_GLOBAL_OVF_CTRL beside the counters: the buffer of DS, and "condition changed". */
const OVERFLOW_OTHER = 0xc0000000 | 0;

const intelCounters = (cpu: Vcpu): boolean => cpu.features.intel && cpu.features.has('pmu');
const amdCounters = (cpu: Vcpu): boolean => !cpu.features.intel && cpu.features.has('pmu');
const amdCore = (cpu: Vcpu): boolean => amdCounters(cpu) && cpu.features.has('perfctr-core');

/** How many counters RDPMC and the MSRs of a vCPU know, fixed ones apart. */
export const generalCounters = (cpu: Vcpu): number => (cpu.features.intel || !cpu.features.has('perfctr-core') ? GENERAL_COUNTERS : FIRST_FIXED);

type Place = Pick<MsrDefinition, 'home' | 'element'>;

/** A register that says what is counted. `allow` rejects reserved bits. */
function control(index: number, name: string, place: Place, allow: (lo: number, hi: number) => boolean, when: (cpu: Vcpu) => boolean): MsrDefinition {
  const at = word(place.home!) + 2 * (place.element ?? 0);
  return {
    index,
    name,
    ...place,
    when,
    write: (cpu, lo, hi) => {
      if (!allow(lo, hi)) return false;
      cpu.counters.sync();
      cpu.w[at] = lo;
      cpu.w[at + 1] = hi;
      cpu.counters.configure();
      return true;
    },
  };
}

/** A counter. `sign`: what is written is 32 bits, and its sign is extended (SDM Vol. 3, "Full-Width Writes to Performance Counter Registers"). */
const counter = (index: number, name: string, number: number, sign: boolean, when: (cpu: Vcpu) => boolean): MsrDefinition => ({
  index,
  name,
  home: 'pmcCount',
  element: number,
  when,
  read: (cpu) => {
    cpu.counters.read(number);
    return true;
  },
  write: (cpu, lo, hi) => {
    if (!sign && (hi & ~0xffff) !== 0) return false;
    cpu.counters.write(number, lo, sign ? lo >> 31 : hi);
    return true;
  },
});

const selectAllowed = (lo: number, hi: number): boolean => hi === 0 && (lo & Select.ANY_THREAD) === 0;
/** AMD's reserved bits: 21, 63:42 and 39:36. */
const amdSelectAllowed = (lo: number, hi: number): boolean => (hi & ~0x30f) === 0 && (lo & Select.ANY_THREAD) === 0;

const select = (i: number): Place => ({ home: 'pmcSelect', element: i });

const general: readonly MsrDefinition[] = Array.from({ length: GENERAL_COUNTERS }, (_, i): MsrDefinition[] => [
  counter(0xc1 + i, `IA32_PMC${i}`, i, true, intelCounters),
  control(0x186 + i, `IA32_PERFEVTSEL${i}`, select(i), selectAllowed, intelCounters),
]).flat();

const fixed: readonly MsrDefinition[] = Array.from({ length: FIXED_COUNTERS }, (_, i) =>
  counter(0x309 + i, `IA32_FIXED_CTR${i}`, FIRST_FIXED + i, false, intelCounters),
);

const global: readonly MsrDefinition[] = [
  control(0x38d, 'IA32_FIXED_CTR_CTRL', { home: 'pmcFixedControl' }, (lo, hi) => hi === 0 && (lo & ~FIXED_CONTROL_MASK) === 0, intelCounters),
  {
    ...control(
      0x38f,
      'IA32_PERF_GLOBAL_CTRL',
      { home: 'pmcGlobalControl' },
      (lo, hi) => (lo & ~GENERAL_MASK) === 0 && (hi & ~FIXED_MASK) === 0,
      intelCounters,
    ),
    reset: [GENERAL_MASK, 0],
  },
  {
    index: 0x38e,
    name: 'IA32_PERF_GLOBAL_STATUS',
    home: 'pmcGlobalStatus',
    when: intelCounters,
    read: (cpu) => {
      cpu.counters.sync();
      cpu.lo = cpu.w[GLOBAL_STATUS]!;
      cpu.hi = cpu.w[GLOBAL_STATUS + 1]!;
      return true;
    },
    write: () => false,
  },
  {
    index: 0x390,
    name: 'IA32_PERF_GLOBAL_OVF_CTRL',
    when: intelCounters,
    write: (cpu, lo, hi) => {
      if ((lo & ~GENERAL_MASK) !== 0 || (hi & ~(FIXED_MASK | OVERFLOW_OTHER)) !== 0) return false;
      cpu.counters.sync();
      cpu.w[GLOBAL_STATUS] = cpu.w[GLOBAL_STATUS]! & ~lo;
      cpu.w[GLOBAL_STATUS + 1] = cpu.w[GLOBAL_STATUS + 1]! & ~hi;
      return true;
    },
  },
];

/** The K7's four counters under their old numbers, and all six of "core performance counter extensions". */
const amd: readonly MsrDefinition[] = [
  ...Array.from({ length: GENERAL_COUNTERS }, (_, i): MsrDefinition[] => [
    control(0xc0010000 + i, `PERF_EVT_SEL${i}`, select(i), amdSelectAllowed, amdCounters),
    counter(0xc0010004 + i, `PERF_CTR${i}`, i, false, amdCounters),
  ]).flat(),
  ...Array.from({ length: FIRST_FIXED }, (_, i): MsrDefinition[] => [
    control(0xc0010200 + 2 * i, `PERF_CTL${i}`, select(i), amdSelectAllowed, amdCore),
    counter(0xc0010201 + 2 * i, `PERF_CTR${i}_CORE`, i, false, amdCore),
  ]).flat(),
];

/** The MSRs of the performance counters, for CPUs with `pmu`. */
export const counterMsrs: readonly MsrDefinition[] = [...general, ...fixed, ...global, ...amd];
