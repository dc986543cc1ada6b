import { type CacheRow, cacheRegisters, cachesOf, powerOfTwoAbove } from './caches.js';
import type { CpuDescription, CpuidDynamicState, CpuidRegisters } from './cpu-model.js';
import { cpuidFeatureRows, msrFeatureRows } from './cpuid-features.js';
import type { CpuidRegister } from './feature-rows.js';
import type { CpuFeature } from './features.js';

const CR4_OSXSAVE = 1 << 18;
const CR4_PKE = 1 << 22;
/** An XSAVE state component after the legacy region. */
export interface XsaveComponent {
  readonly bit: number;
  /** The feature that brings it, and another that does so too. */
  readonly feature: CpuFeature;
  readonly or?: CpuFeature;
  readonly bytes: number;
  /** In the standard form; supervisor components (those of IA32_XSS) have none. */
  readonly offset: number;
  readonly supervisor?: true;
}
/** The state components in order (SDM Vol. 1, "Managing State Using the XSAVE Feature Set"). */
export const xsaveComponents: readonly XsaveComponent[] = [
  { bit: 2, feature: 'avx', bytes: 256, offset: 576 },
  { bit: 3, feature: 'mpx', bytes: 64, offset: 960 },
  { bit: 4, feature: 'mpx', bytes: 64, offset: 1024 },
  { bit: 9, feature: 'pku', bytes: 8, offset: 2688 },
  { bit: 11, feature: 'cet-ss', or: 'cet-ibt', bytes: 16, offset: 0, supervisor: true },
  { bit: 12, feature: 'cet-ss', or: 'cet-ibt', bytes: 24, offset: 0, supervisor: true },
  { bit: 14, feature: 'uintr', bytes: 48, offset: 0, supervisor: true },
];
const XSAVE_LEGACY_BYTES = 576;
/** Pages behind the first that one INVLPGB may name. */
const INVLPGB_PAGES = 7;

/**
 * Leaf 0AH: version 2, four counters of 48 bits, seven architectural events of which cycles, instructions and reference cycles are there (a bit says: not there); three fixed
 * counters of 48 bits.
 */
const COUNTERS: CpuidRegisters = { eax: 0x07300402, ebx: 0x78, ecx: 0, edx: 0x603 };

const zero = (): CpuidRegisters => ({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
const threadsOf = (cpu: CpuDescription): number => cpu.topology.cores * cpu.topology.threads;
const isIntel = (cpu: CpuDescription): boolean => cpu.vendorId === 'GenuineIntel';

/** Bits of one output register that the model's features set. */
function featureWord(cpu: CpuDescription, leaf: number, subleaf: number, register: CpuidRegister): number {
  let word = 0;
  for (const [name, l, s, r, bit] of cpuidFeatureRows) if (l === leaf && s === subleaf && r === register && cpu.features.has(name)) word |= 1 << bit;
  return word >>> 0;
}

const featureRegisters = (cpu: CpuDescription, leaf: number, subleaf = 0): CpuidRegisters => ({
  eax: featureWord(cpu, leaf, subleaf, 'eax'),
  ebx: featureWord(cpu, leaf, subleaf, 'ebx'),
  ecx: featureWord(cpu, leaf, subleaf, 'ecx'),
  edx: featureWord(cpu, leaf, subleaf, 'edx'),
});

/** Value of a capability MSR that the model's features make (IA32_ARCH_CAPABILITIES …). */
export function featureMsr(cpu: CpuDescription, index: number): bigint {
  let value = 0n;
  for (const [name, msr, bit] of msrFeatureRows) if (msr === index && cpu.features.has(name)) value |= 1n << BigInt(bit);
  return value;
}

/** Four letters of a string as a register. */
const letters = (text: string, at: number): number => {
  let word = 0;
  for (let i = 0; i < 4; i++) word |= ((at + i < text.length ? text.charCodeAt(at + i) : 0) & 0xff) << (8 * i);
  return word >>> 0;
};

const vendorRegisters = (cpu: CpuDescription, maximum: number): CpuidRegisters => ({
  eax: maximum,
  ebx: letters(cpu.vendorId, 0),
  edx: letters(cpu.vendorId, 4),
  ecx: letters(cpu.vendorId, 8),
});

/** The signature word of leaf 1: base and extended family and model. */
export function cpuSignature(cpu: CpuDescription): number {
  const family = Math.min(cpu.family, 15);
  const extended = cpu.family - family;
  return ((cpu.stepping & 15) | ((cpu.model & 15) << 4) | (family << 8) | ((cpu.model >> 4) << 16) | (extended << 20)) >>> 0;
}

function leaf1(cpu: CpuDescription, state: CpuidDynamicState): CpuidRegisters {
  const out = featureRegisters(cpu, 1);
  const count = threadsOf(cpu);
  out.eax = cpuSignature(cpu);
  out.ebx =
    ((8 << 8) | (count > 1 ? (powerOfTwoAbove(cpu.topology.cores) * powerOfTwoAbove(cpu.topology.threads)) << 16 : 0) | (state.apicId << 24)) >>> 0;
  out.edx = count > 1 ? (out.edx | (1 << 28)) >>> 0 : (out.edx & ~(1 << 28)) >>> 0;
  if (!state.apicEnabled) {
    out.edx = (out.edx & ~(1 << 9)) >>> 0;
    out.ecx = (out.ecx & ~(1 << 21)) >>> 0;
  }
  if (cpu.features.has('xsave') && state.cr4 & CR4_OSXSAVE) out.ecx = (out.ecx | (1 << 27)) >>> 0;
  return out;
}

function leaf4(cpu: CpuDescription, subleaf: number, intel: boolean): CpuidRegisters {
  const cache: CacheRow | undefined = cachesOf(cpu)[subleaf];
  return cache ? cacheRegisters(cache, cpu, intel) : zero();
}

const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

function leaf7(cpu: CpuDescription, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
  if (subleaf > 2) return zero();
  const out = featureRegisters(cpu, 7, subleaf);
  if (subleaf === 0) {
    out.eax = [2, 1].find((n) => REGISTERS.some((register) => featureWord(cpu, 7, n, register) !== 0)) ?? 0;
    if (cpu.features.has('pku') && state.cr4 & CR4_PKE) out.ecx = (out.ecx | (1 << 4)) >>> 0;
  }
  return out;
}

/** Extended topology, leaves 0xb and 0x1f: threads of a core, cores of a socket. */
function topologyLeaf(cpu: CpuDescription, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
  const threadBits = Math.log2(powerOfTwoAbove(cpu.topology.threads));
  const coreBits = Math.log2(powerOfTwoAbove(cpu.topology.cores));
  const level = subleaf & 0xff;
  if (level === 0) return { eax: threadBits, ebx: cpu.topology.threads, ecx: 0x100, edx: state.apicId };
  if (level === 1) return { eax: threadBits + coreBits, ebx: threadsOf(cpu), ecx: 0x201, edx: state.apicId };
  return { eax: 0, ebx: 0, ecx: level, edx: state.apicId };
}

/** Components that XCR0 may enable on this model. */
export function supportedXcr0(cpu: CpuDescription): number {
  if (!cpu.features.has('xsave')) return 0;
  return componentsOf(cpu, false) | 3;
}

/** Components that IA32_XSS may enable on this model. */
const supportedXss = (cpu: CpuDescription): number => (cpu.features.has('xsaves') ? componentsOf(cpu, true) : 0);

const hasComponent = (cpu: CpuDescription, c: XsaveComponent): boolean =>
  cpu.features.has(c.feature) || (c.or !== undefined && cpu.features.has(c.or));

/** The bits of the user or supervisor components that a model has. */
const componentsOf = (cpu: CpuDescription, supervisor: boolean): number =>
  xsaveComponents.reduce((mask, c) => (hasComponent(cpu, c) && (c.supervisor === true) === supervisor ? mask | (1 << c.bit) : mask), 0);

/** Bytes of a standard-form XSAVE area that holds the components of `mask`. */
const standardSize = (mask: number): number =>
  xsaveComponents.reduce((size, c) => (mask & (1 << c.bit) ? Math.max(size, c.offset + c.bytes) : size), XSAVE_LEGACY_BYTES);
/** The same in the compacted form; none of our components asks for 64-byte alignment. */
const compactedSize = (mask: number): number =>
  xsaveComponents.reduce((size, c) => (mask & (1 << c.bit) ? size + c.bytes : size), XSAVE_LEGACY_BYTES);

function xsaveLeaf(cpu: CpuDescription, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
  const supported = supportedXcr0(cpu);
  if (supported === 0) return zero();
  if (subleaf === 0) return { eax: supported, ebx: standardSize(state.xcr0), ecx: standardSize(supported), edx: 0 };
  if (subleaf === 1) {
    const eax = featureWord(cpu, 13, 1, 'eax');
    const compact = (eax & 0b1010) !== 0;
    return { eax, ebx: compact ? compactedSize(state.xcr0 | state.xss) : 0, ecx: supportedXss(cpu), edx: 0 };
  }
  const component = xsaveComponents.find((c) => c.bit === subleaf && hasComponent(cpu, c));
  if (component === undefined || (component.supervisor === true && supportedXss(cpu) === 0)) return zero();
  return { eax: component.bytes, ebx: component.offset, ecx: component.supervisor === true ? 1 : 0, edx: 0 };
}

/** Time-stamp counter and frequencies: TSC = crystal × EBX/EAX; MHz of leaf 16h. */
const tscLeaf = (cpu: CpuDescription): CpuidRegisters => ({ eax: 1, ebx: cpu.tscHz / 25_000_000, ecx: 25_000_000, edx: 0 });
const frequencyLeaf = (cpu: CpuDescription): CpuidRegisters => ({ eax: cpu.tscHz / 1e6, ebx: cpu.tscHz / 1e6, ecx: 100, edx: 0 });

function basicLeaf(cpu: CpuDescription, leaf: number, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
  switch (leaf) {
    case 0:
      return vendorRegisters(cpu, state.limitMaximum ? Math.min(2, cpu.level) : cpu.level);
    case 1:
      return leaf1(cpu, state);
    case 2:
      return isIntel(cpu) ? { eax: 1, ebx: 0, ecx: 0x4d, edx: 0x2c307d } : zero();
    case 4:
      return isIntel(cpu) ? leaf4(cpu, subleaf, true) : zero();
    case 5:
      return cpu.features.has('monitor') ? { eax: 64, ebx: 64, ecx: 3, edx: 0 } : { eax: 0, ebx: 0, ecx: 3, edx: 0 };
    case 6:
      return featureRegisters(cpu, 6);
    case 7:
      return leaf7(cpu, subleaf, state);
    case 0xa:
      return isIntel(cpu) && cpu.features.has('pmu') ? { ...COUNTERS } : zero();
    case 0xb:
      return cpu.level >= 0xb ? topologyLeaf(cpu, subleaf, state) : zero();
    case 0xd:
      return xsaveLeaf(cpu, subleaf, state);
    case 0x15:
      return isIntel(cpu) ? tscLeaf(cpu) : zero();
    case 0x16:
      return isIntel(cpu) ? frequencyLeaf(cpu) : zero();
    case 0x1f:
      return topologyLeaf(cpu, subleaf, state);
    default:
      return zero();
  }
}

/** Bits of leaf 1 EDX that AMD repeats in leaf 0x80000001 EDX. */
const AMD_REPEATED = 0x0183f3ff;

function extendedFeatures(cpu: CpuDescription, state: CpuidDynamicState): CpuidRegisters {
  const out = featureRegisters(cpu, 0x80000001);
  if (isIntel(cpu)) return out;
  out.eax = cpuSignature(cpu);
  const repeated = featureWord(cpu, 1, 0, 'edx') & AMD_REPEATED & (state.apicEnabled ? -1 : ~(1 << 9));
  out.edx = (out.edx | repeated) >>> 0;
  if (threadsOf(cpu) > 1) out.ecx = (out.ecx | (cpu.features.has('cmp-legacy') || cpu.topology.threads === 1 ? 2 : 0)) >>> 0;
  return out;
}

/** L1 of leaf 0x80000005: KiB, ways, one line per tag, line size. */
const amdL1 = (cache: CacheRow): number => ((cache.kib << 24) | (cache.ways << 16) | (1 << 8) | cache.lineBytes) >>> 0;
/** Ways as AMD's L2 and L3 fields encode them. */
const amdWays = (ways: number): number => ({ 2: 2, 4: 4, 8: 6, 16: 8, 32: 10, 48: 11, 64: 12 })[ways] ?? 15;

function amdCaches(cpu: CpuDescription, leaf: number): CpuidRegisters {
  const [data, code, second, third] = cachesOf(cpu);
  if (leaf === 0x80000005) return { eax: 0x01ff01ff, ebx: 0x01ff01ff, ecx: amdL1(data!), edx: amdL1(code!) };
  const l2 = ((second!.kib << 16) | (amdWays(second!.ways) << 12) | (1 << 8) | second!.lineBytes) >>> 0;
  const l3 = ((Math.floor(third!.kib / 512) << 18) | (amdWays(third!.ways) << 12) | (1 << 8) | third!.lineBytes) >>> 0;
  return { eax: 0, ebx: 0x42004200, ecx: l2, edx: l3 };
}

/** Leaf 0x8000001e: the thread's extended APIC id, its core, its node. */
function amdTopology(cpu: CpuDescription, state: CpuidDynamicState): CpuidRegisters {
  if (!cpu.features.has('topoext')) return zero();
  const threadBits = Math.log2(powerOfTwoAbove(cpu.topology.threads));
  const coreBits = Math.log2(powerOfTwoAbove(cpu.topology.cores));
  const core = (state.apicId >> threadBits) & (powerOfTwoAbove(cpu.topology.cores) - 1);
  return { eax: state.apicId, ebx: ((cpu.topology.threads - 1) << 8) | (core & 0xff), ecx: (state.apicId >> (threadBits + coreBits)) & 0xff, edx: 0 };
}

function addressSizes(cpu: CpuDescription): CpuidRegisters {
  const out = featureRegisters(cpu, 0x80000008);
  const linear = !cpu.features.has('lm') ? 32 : cpu.features.has('la57') ? 57 : 48;
  out.eax = cpu.features.has('lm') ? cpu.physicalBits | (linear << 8) : cpu.features.has('pse36') ? 36 : 32;
  // RDPRU reads registers 0 and 1.
  if (cpu.features.has('rdpru')) out.edx = 1 << 16;
  if (cpu.features.has('invlpgb')) out.edx |= INVLPGB_PAGES;
  const count = threadsOf(cpu);
  if (count > 1) out.ecx = (count - 1) | (Math.log2(powerOfTwoAbove(count)) << 12);
  return out;
}

/** Eighths of the return-address predictor's entries. */
const RAP_SIZE = 4;

function extendedLeaf(cpu: CpuDescription, leaf: number, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
  switch (leaf) {
    case 0x80000000:
      return isIntel(cpu) ? { eax: cpu.xlevel, ebx: 0, ecx: 0, edx: 0 } : vendorRegisters(cpu, cpu.xlevel);
    case 0x80000001:
      return extendedFeatures(cpu, state);
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const at = (leaf - 0x80000002) * 16;
      return {
        eax: letters(cpu.modelId, at),
        ebx: letters(cpu.modelId, at + 4),
        ecx: letters(cpu.modelId, at + 8),
        edx: letters(cpu.modelId, at + 12),
      };
    }
    case 0x80000005:
      return isIntel(cpu) ? zero() : amdCaches(cpu, leaf);
    case 0x80000006:
      return isIntel(cpu) ? { ...zero(), ecx: amdCaches(cpu, leaf).ecx } : amdCaches(cpu, leaf);
    case 0x80000007:
      return featureRegisters(cpu, leaf);
    case 0x80000008:
      return addressSizes(cpu);
    // Revision 1, 64 address-space identifiers (APM Vol. 3, "Function 8000_000Ah").
    case 0x8000000a:
      return cpu.features.has('svm') ? { eax: 1, ebx: 64, ecx: 0, edx: featureWord(cpu, leaf, 0, 'edx') } : zero();
    case 0x8000001d:
      return cpu.features.has('topoext') && !isIntel(cpu) ? leaf4(cpu, subleaf, false) : zero();
    case 0x8000001e:
      return isIntel(cpu) ? zero() : amdTopology(cpu, state);
    // RapSize in EBX[23:16]: a predictor of 32 returns, the least that software reckons with. Nothing here predicts any.
    case 0x80000021:
      return { ...featureRegisters(cpu, leaf), ebx: cpu.features.has('eraps') ? RAP_SIZE << 16 : 0 };
    default:
      return zero();
  }
}

/**
 * The CPUID instruction: EAX = `leaf`, ECX = `subleaf` (unsigned) on a CPU in the given state. Basic leaves above the maximum answer as the highest basic
 * leaf on Intel and with zeros on AMD; there is no hypervisor range (SDM Vol. 2, "CPUID"; APM Vol. 3, appendix E).
 */
export function cpuidLeaf(cpu: CpuDescription, leaf: number, subleaf: number, state: CpuidDynamicState): CpuidRegisters {
  const maximum = state.limitMaximum ? Math.min(2, cpu.level) : cpu.level;
  if (leaf >= 0x80000000 && leaf <= cpu.xlevel) return extendedLeaf(cpu, leaf, subleaf, state);
  if (leaf <= maximum) return basicLeaf(cpu, leaf, subleaf, state);
  return isIntel(cpu) ? basicLeaf(cpu, maximum, subleaf, state) : zero();
}
