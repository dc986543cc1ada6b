/** Facts that QEMU 7.2 does not know: newer feature names and models. Sources: SDM Vol. 2 "CPUID", Vol. 4; APM Vol. 3 appendix E. */

/** name, leaf, subleaf, register, bit. */
export const extraFeatures = [
  ['fdp-excptn-only', 7, 0, 'ebx', 6],
  ['zero-fcs-fds', 7, 0, 'ebx', 13],
  ['cet-ss', 7, 0, 'ecx', 7],
  ['enqcmd', 7, 0, 'ecx', 29],
  ['cet-ibt', 7, 0, 'edx', 20],
  ['flush-l1d', 7, 0, 'edx', 28],
  ['cmpccxadd', 7, 1, 'eax', 7],
  ['fzrm', 7, 1, 'eax', 10],
  ['fsrs', 7, 1, 'eax', 11],
  ['fsrc', 7, 1, 'eax', 12],
  ['amx-fp16', 7, 1, 'eax', 21],
  ['avx-ifma', 7, 1, 'eax', 23],
  ['avx-vnni-int8', 7, 1, 'edx', 4],
  ['avx-ne-convert', 7, 1, 'edx', 5],
  ['prefetchiti', 7, 1, 'edx', 14],
  ['cet-sss', 7, 1, 'edx', 18],
  ['monitorx', 0x80000001, 0, 'ecx', 29],
  ['rdpru', 0x80000008, 0, 'ebx', 4],
  ['stibp-always-on', 0x80000008, 0, 'ebx', 17],
  ['amd-psfd', 0x80000008, 0, 'ebx', 28],
  ['vnmi', 0x8000000a, 0, 'edx', 25],
  ['no-nested-data-bp', 0x80000021, 0, 'eax', 0],
  ['lfence-always-serializing', 0x80000021, 0, 'eax', 2],
  ['null-sel-clr-base', 0x80000021, 0, 'eax', 6],
  ['auto-ibrs', 0x80000021, 0, 'eax', 8],
];

/** name, MSR, bit: IA32_ARCH_CAPABILITIES, IA32_CORE_CAPABILITIES, IA32_PERF_CAPABILITIES. */
export const msrFeatures = [
  ['rdctl-no', 0x10a, 0],
  ['ibrs-all', 0x10a, 1],
  ['rsba', 0x10a, 2],
  ['skip-l1dfl-vmentry', 0x10a, 3],
  ['ssb-no', 0x10a, 4],
  ['mds-no', 0x10a, 5],
  ['pschange-mc-no', 0x10a, 6],
  ['tsx-ctrl', 0x10a, 7],
  ['taa-no', 0x10a, 8],
  ['sbdr-ssdp-no', 0x10a, 13],
  ['fbsdp-no', 0x10a, 14],
  ['psdp-no', 0x10a, 15],
  ['fb-clear', 0x10a, 17],
  ['bhi-no', 0x10a, 20],
  ['pbrsb-no', 0x10a, 24],
  ['gds-no', 0x10a, 26],
  ['rfds-no', 0x10a, 27],
  ['split-lock-detect', 0xcf, 5],
  ['full-width-write', 0x345, 13],
];

const words = (...lists) => lists.join(' ').split(/\s+/);
const BASIC = 'fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2';

export const extraModels = [
  {
    name: 'SapphireRapids-v1',
    vendor: 'GenuineIntel',
    family: 6,
    model: 143,
    stepping: 4,
    level: 0x20,
    xlevel: 0x80000008,
    id: 'Intel Xeon Processor (SapphireRapids)',
    features: words(
      BASIC,
      'pni pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave avx f16c rdrand',
      'syscall nx pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch wbnoinvd',
      'fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid rtm avx512f avx512dq rdseed adx smap avx512ifma clflushopt clwb avx512cd sha-ni avx512bw avx512vl',
      'avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq la57 rdpid bus-lock-detect',
      'fsrm serialize tsx-ldtrk amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl arch-capabilities ssbd',
      'rdctl-no ibrs-all skip-l1dfl-vmentry mds-no pschange-mc-no taa-no xsaveopt xsavec xgetbv1 xsaves xfd arat avx-vnni avx512-bf16',
    ),
  },
  {
    name: 'EPYC-Genoa-v1',
    vendor: 'AuthenticAMD',
    family: 25,
    model: 17,
    stepping: 0,
    level: 0xd,
    xlevel: 0x80000022,
    id: 'AMD EPYC-Genoa Processor',
    features: words(
      BASIC,
      'pni pclmulqdq monitor ssse3 fma cx16 pcid sse4.1 sse4.2 movbe popcnt aes xsave avx f16c rdrand',
      'syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm svm cr8legacy abm sse4a misalignsse 3dnowprefetch osvw topoext perfctr-core',
      'clzero xsaveerptr wbnoinvd ibpb ibrs stibp stibp-always-on amd-ssbd amd-psfd',
      'no-nested-data-bp lfence-always-serializing null-sel-clr-base auto-ibrs',
      'fsgsbase bmi1 avx2 smep bmi2 erms invpcid avx512f avx512dq rdseed adx smap avx512ifma clflushopt clwb avx512cd sha-ni avx512bw avx512vl',
      'avx512vbmi umip pku avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq la57 rdpid fsrm avx512-bf16',
      'xsaveopt xsavec xgetbv1 xsaves arat npt nrip-save vnmi svme-addr-chk',
    ),
  },
];
