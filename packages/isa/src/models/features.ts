import { cpuidFeatureRows, msrFeatureRows } from './cpuid-features.js';

/** Name of a CPU feature, as QEMU's `-cpu` spells it. */
export type CpuFeature = (typeof cpuidFeatureRows)[number][0] | (typeof msrFeatureRows)[number][0];

/** Every feature name, in the order of the CPUID leaves. */
export const featureNames: readonly CpuFeature[] = [...cpuidFeatureRows.map((row) => row[0]), ...msrFeatureRows.map((row) => row[0])];

const known = new Set<string>(featureNames);

/** Other spellings that people use. Underscores count as dashes anyway. */
const spellings: Readonly<Record<string, CpuFeature>> = {
  sse3: 'pni', i64: 'lm', xd: 'nx', ffxsr: 'fxsr-opt', pclmuldq: 'pclmulqdq', 'sse4-1': 'sse4.1', 'sse4-2': 'sse4.2', sha: 'sha-ni', lzcnt: 'abm', 'avx512vpopcntdq': 'avx512-vpopcntdq',
};

/** The feature that a name means (`sse4_1`, `sse4.1` and `sse4-1` are one), or undefined. */
export function findFeature(name: string): CpuFeature | undefined {
  const dashed = name.replaceAll('_', '-');
  if (known.has(dashed)) return dashed as CpuFeature;
  return Object.hasOwn(spellings, dashed) ? spellings[dashed] : undefined;
}

/** What a feature stands on: without the second, the first is not announced (SDM Vol. 1, "Detection" sections). */
export const featureRequires: readonly (readonly [CpuFeature, CpuFeature])[] = [
  ['sse', 'fxsr'], ['sse2', 'sse'], ['pni', 'sse2'], ['ssse3', 'pni'], ['sse4.1', 'ssse3'], ['sse4.2', 'sse4.1'], ['aes', 'sse2'], ['pclmulqdq', 'sse2'], ['sha-ni', 'sse2'],
  ['avx', 'xsave'], ['avx2', 'avx'], ['fma', 'avx'], ['f16c', 'avx'], ['pku', 'xsave'],
  ['xsaveopt', 'xsave'], ['xsavec', 'xsave'], ['xgetbv1', 'xsave'], ['xsaves', 'xsavec'],
  ['lm', 'pae'], ['nx', 'pae'], ['la57', 'lm'], ['pdpe1gb', 'lm'], ['pcid', 'lm'], ['invpcid', 'pcid'], ['cx16', 'lm'], ['fsgsbase', 'lm'], ['x2apic', 'apic'], ['tsc-deadline', 'apic'], ['arat', 'apic'],
];

/**
 * What Nestvm has. A named model announces its own list as far as it is in here; `max` and `host` announce all of it.
 * Not here: AVX-512, AMX, TSX, MPX, SGX, PKS, CET, performance counters, and (until their packages exist) VMX and SVM.
 */
export const implementedFeatures: ReadonlySet<CpuFeature> = new Set<CpuFeature>([
  'fpu', 'vme', 'de', 'pse', 'tsc', 'msr', 'pae', 'mce', 'cx8', 'apic', 'sep', 'mtrr', 'pge', 'mca', 'cmov', 'pat', 'pse36', 'clflush', 'mmx', 'fxsr', 'sse', 'sse2', 'ss', 'ht',
  'pni', 'pclmulqdq', 'monitor', 'ssse3', 'fma', 'cx16', 'pcid', 'sse4.1', 'sse4.2', 'x2apic', 'movbe', 'popcnt', 'tsc-deadline', 'aes', 'xsave', 'avx', 'f16c', 'rdrand', 'hypervisor',
  'arat',
  'fsgsbase', 'tsc-adjust', 'bmi1', 'avx2', 'smep', 'bmi2', 'erms', 'invpcid', 'rdseed', 'adx', 'smap', 'clflushopt', 'clwb', 'sha-ni',
  'umip', 'pku', 'la57', 'rdpid', 'fsrm', 'md-clear', 'spec-ctrl', 'stibp', 'ssbd', 'arch-capabilities',
  'xsaveopt', 'xsavec', 'xgetbv1', 'xsaves',
  'lahf-lm', 'cmp-legacy', 'cr8legacy', 'abm', '3dnowprefetch', 'topoext', 'syscall', 'nx', 'pdpe1gb', 'rdtscp', 'lm', 'invtsc',
  'wbnoinvd', 'ibpb', 'ibrs', 'amd-stibp', 'amd-ssbd', 'virt-ssbd', 'amd-no-ssb', 'lfence-always-serializing',
  'rdctl-no', 'ibrs-all', 'skip-l1dfl-vmentry', 'ssb-no', 'mds-no', 'pschange-mc-no', 'taa-no', 'sbdr-ssdp-no', 'fbsdp-no', 'psdp-no', 'bhi-no', 'pbrsb-no', 'gds-no', 'rfds-no',
]);
