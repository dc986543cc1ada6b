import { Cr0, Efer } from '@nestvm/isa';
import { counterMsrs } from '../counters/msrs.js';
import { DebugCtl, updateMode, updateModeBits } from '../mode.js';
import { userInterruptMsrs } from '../user-interrupts/msrs.js';
import type { Vcpu } from '../vcpu.js';
import { CR0, DEBUG_CTL, EFER, PKRS } from '../words.js';
import { cetDefinitions } from './cet.js';
import type { MsrDefinition } from './definition.js';
import { mpxDefinitions } from './mpx.js';
import { readHostTsc, readTsc, writeTsc, writeTscAdjust } from './time.js';

type Condition = (cpu: Vcpu) => boolean;
const feature =
  (...names: string[]): Condition =>
  (cpu) =>
    names.some((name) => cpu.features.has(name));
const intel: Condition = (cpu) => cpu.features.intel;
const amd: Condition = (cpu) => !cpu.features.intel;
const amdWithoutCounters: Condition = (cpu) => !cpu.features.intel && !cpu.features.has('pmu');
/** MPERF and APERF. */
const hasPerformanceClocks: Condition = (cpu) => cpu.features.intel || cpu.features.has('rdpru');

/** EFER: LMA follows LME and CR0.PG; LME cannot change while paging is on. */
function writeEfer(cpu: Vcpu, lo: number, hi: number): boolean {
  const w = cpu.w;
  const old = w[EFER]!;
  if (hi !== 0 || (lo & ~(cpu.features.efer | Efer.LMA)) !== 0) return false;
  if (((old ^ lo) & Efer.LME) !== 0 && (w[CR0]! & Cr0.PG) !== 0) return false;
  const next = (lo & ~Efer.LMA) | (old & Efer.LMA);
  if (cpu.eferGuard !== null && !cpu.eferGuard(old, next)) return false;
  w[EFER] = next;
  updateMode(cpu);
  return true;
}

/** LBR and BTF; AMD's registers also keep the bits of the performance-monitoring pins. */
function writeDebugCtl(cpu: Vcpu, lo: number, hi: number): boolean {
  const freezes = cpu.features.has('pmu') ? DebugCtl.FREEZE_LBRS | DebugCtl.FREEZE_COUNTERS : 0;
  if (hi !== 0 || (lo & ~(cpu.features.intel ? 3 | freezes : 0x3f)) !== 0) return false;
  cpu.w[DEBUG_CTL] = lo;
  updateModeBits(cpu);
  return true;
}

/** Rights of supervisor pages by protection key: they choose the TLB's bank, as PKRU does. */
function writePkrs(cpu: Vcpu, lo: number, hi: number): boolean {
  if (hi !== 0) return false;
  cpu.w[PKRS] = lo;
  updateMode(cpu);
  return true;
}

/** FS and GS base: homes are the hidden parts of the segment registers. */
const segmentBase = (index: number, name: string, segment: number): MsrDefinition => ({
  index,
  name,
  home: 'segBase',
  element: segment,
  canonical: true,
  when: (cpu) => cpu.features.longMode,
});

/** Page-attribute entries may be 0, 1, 4, 5, 6, 7. */
function isPatValue(lo: number, hi: number): boolean {
  for (let i = 0; i < 8; i++) {
    const type = (i < 4 ? lo >>> (8 * i) : hi >>> (8 * (i - 4))) & 0xff;
    if (type > 7 || type === 2 || type === 3) return false;
  }
  return true;
}

/** Memory types of MTRRs: 0, 1, 4, 5, 6. */
const isMtrrType = (type: number): boolean => type === 0 || type === 1 || (type >= 4 && type <= 6);

function isFixedMtrr(lo: number, hi: number): boolean {
  for (let i = 0; i < 8; i++) if (!isMtrrType((i < 4 ? lo >>> (8 * i) : hi >>> (8 * (i - 4))) & 0xff)) return false;
  return true;
}

const mtrr = feature('mtrr');
const FIXED_MTRRS = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
const VARIABLE_MTRRS = 8;

const mtrrDefinitions: readonly MsrDefinition[] = [
  // Eight variable ranges, fixed ranges, write-combining.
  { index: 0xfe, name: 'IA32_MTRRCAP', when: mtrr, constant: () => [0x500 | VARIABLE_MTRRS, 0] },
  ...Array.from(
    { length: 2 * VARIABLE_MTRRS },
    (_, i): MsrDefinition => ({
      index: 0x200 + i,
      name: `IA32_MTRR_PHYS${i % 2 === 0 ? 'BASE' : 'MASK'}${i >> 1}`,
      home: 'mtrrVariable',
      element: i,
      when: mtrr,
      allow: (cpu, lo, hi) => {
        if ((hi & ~cpu.features.physicalHighMask) !== 0) return false;
        return i % 2 === 0 ? (lo & 0xf00) === 0 && isMtrrType(lo & 0xff) : (lo & 0x7ff) === 0;
      },
    }),
  ),
  ...FIXED_MTRRS.map(
    (index, i): MsrDefinition => ({
      index,
      name: `IA32_MTRR_FIX_${i}`,
      home: 'mtrrFixed',
      element: i,
      when: mtrr,
      allow: (_cpu, lo, hi) => isFixedMtrr(lo, hi),
    }),
  ),
  { index: 0x2ff, name: 'IA32_MTRR_DEF_TYPE', home: 'mtrrDefType', when: mtrr, mask: [0xcff, 0], allow: (_cpu, lo) => isMtrrType(lo & 0xff) },
  {
    index: 0x277,
    name: 'IA32_PAT',
    home: 'pat',
    when: feature('pat'),
    reset: [0x00070406, 0x00070406],
    allow: (_cpu, lo, hi) => isPatValue(lo, hi),
  },
];

const MC_BANKS = 10;
const mca = feature('mca');
const machineCheckDefinitions: readonly MsrDefinition[] = [
  // Bank count, MCG_CTL present (bit 8), software error recovery on Intel (bit 24).
  { index: 0x179, name: 'IA32_MCG_CAP', when: mca, constant: (cpu) => [0x100 | MC_BANKS | (cpu.features.intel ? 1 << 24 : 0), 0] },
  { index: 0x17a, name: 'IA32_MCG_STATUS', home: 'mcgStatus', when: mca, mask: [7, 0] },
  { index: 0x17b, name: 'IA32_MCG_CTL', when: mca, reset: [-1, -1], allow: (_cpu, lo, hi) => (lo === 0 && hi === 0) || (lo === -1 && hi === -1) },
  { index: 0x0, name: 'IA32_P5_MC_ADDR', constant: () => [0, 0] },
  { index: 0x1, name: 'IA32_P5_MC_TYPE', constant: () => [0, 0] },
  ...Array.from({ length: MC_BANKS }, (_, bank): MsrDefinition[] => [
    // Bank 0's control may be written with bit 10 off (an old erratum's workaround that Linux knows).
    { index: 0x400 + 4 * bank, name: `IA32_MC${bank}_CTL`, when: mca, reset: [-1, -1] },
    {
      index: 0x401 + 4 * bank,
      name: `IA32_MC${bank}_STATUS`,
      when: mca,
      allow: (cpu, lo, hi) => (lo === 0 && hi === 0) || (!cpu.features.intel && mcStatusWritable(cpu)),
    },
    { index: 0x402 + 4 * bank, name: `IA32_MC${bank}_ADDR`, when: mca },
    { index: 0x403 + 4 * bank, name: `IA32_MC${bank}_MISC`, when: mca },
  ]).flat(),
];

/** HWCR.McStatusWrEn (AMD). */
const mcStatusWritable = (cpu: Vcpu): boolean => (cpu.get32('hwcr') & (1 << 18)) !== 0;

const speculation: readonly MsrDefinition[] = [
  {
    index: 0x48,
    name: 'IA32_SPEC_CTRL',
    home: 'specCtrl',
    when: feature('spec-ctrl', 'stibp', 'ssbd', 'ibrs', 'amd-stibp', 'amd-ssbd'),
    mask: [0x487, 0],
  },
  {
    index: 0x49,
    name: 'IA32_PRED_CMD',
    when: feature('spec-ctrl', 'ibpb'),
    read: () => false,
    write: (_cpu, lo, hi) => hi === 0 && (lo & ~0x81) === 0,
  },
  { index: 0x10b, name: 'IA32_FLUSH_CMD', when: feature('flush-l1d'), read: () => false, write: (_cpu, lo, hi) => hi === 0 && (lo & ~1) === 0 },
  { index: 0x10a, name: 'IA32_ARCH_CAPABILITIES', when: feature('arch-capabilities'), constant: (cpu) => archCapabilities(cpu) },
  { index: 0xc001011f, name: 'VIRT_SPEC_CTRL', home: 'virtSpecCtrl', when: feature('virt-ssbd'), mask: [4, 0] },
];

function archCapabilities(cpu: Vcpu): readonly [number, number] {
  const value = cpu.model.msr?.(0x10a) ?? 0n;
  return [Number(value & 0xffffffffn) | 0, Number(value >> 32n) | 0];
}

/** Fast strings on; BTS and PEBS unavailable (fixed, as is bit 7: there are performance counters); MONITOR on. */
const miscEnable = (counters: number, when: Condition): MsrDefinition => ({
  index: 0x1a0,
  name: 'IA32_MISC_ENABLE',
  when,
  home: 'miscEnable',
  reset: [0x1801 | counters | (1 << 18), 0],
  write: (cpu, lo, hi) => {
    if ((hi & ~4) !== 0) return false;
    const fixed = 0x1800 | counters;
    cpu.set64('miscEnable', (BigInt(hi >>> 0) << 32n) | BigInt(((lo & ~fixed) | (cpu.get32('miscEnable') & fixed)) >>> 0));
    return true;
  },
});

const sysenter = feature('sep');
const intelDefinitions: readonly MsrDefinition[] = [
  { index: 0x17, name: 'IA32_PLATFORM_ID', when: intel, constant: () => [0, 0] },
  { index: 0x2a, name: 'EBL_CR_POWERON', when: intel, constant: () => [0, 0] },
  { index: 0x8b, name: 'IA32_BIOS_SIGN_ID', when: intel, home: 'microcodeRevision', reset: [0, 1], write: () => true },
  { index: 0x79, name: 'IA32_BIOS_UPDT_TRIG', when: intel, read: () => false, write: () => true },
  { index: 0xce, name: 'MSR_PLATFORM_INFO', when: intel, constant: () => [0, 0] },
  { index: 0x198, name: 'IA32_PERF_STATUS', when: intel, constant: () => [0x1000, 0] },
  { index: 0x199, name: 'IA32_PERF_CTL', when: intel },
  { index: 0x19c, name: 'IA32_THERM_STATUS', when: feature('acpi', 'dts'), constant: () => [0, 0] },
  miscEnable(0, (cpu) => intel(cpu) && !cpu.features.has('pmu')),
  miscEnable(1 << 7, (cpu) => intel(cpu) && cpu.features.has('pmu')),
];

const amdDefinitions: readonly MsrDefinition[] = [
  { index: 0x8b, name: 'PATCH_LEVEL', when: amd, home: 'patchLevel', reset: [0x01000065, 0], write: () => true },
  { index: 0xc0010010, name: 'SYSCFG', when: amd, home: 'syscfg', reset: [0x40000, 0], mask: [0x7fffff, 0], ignore: true },
  { index: 0xc0010015, name: 'HWCR', when: amd, home: 'hwcr', reset: [0x01000010, 0], mask: [0x7fffffff, 3], ignore: true },
  { index: 0xc001001a, name: 'TOP_MEM', when: amd },
  { index: 0xc001001d, name: 'TOP_MEM2', when: amd },
  { index: 0xc001001f, name: 'NB_CFG1', when: amd },
  { index: 0xc0010020, name: 'PATCH_LOADER', when: amd, read: () => false, write: () => true },
  { index: 0xc0010055, name: 'INT_PENDING', when: amd },
  { index: 0xc0010058, name: 'MMIO_CFG_BASE', when: amd },
  { index: 0xc0010112, name: 'SMM_ADDR', when: amd },
  { index: 0xc0010113, name: 'SMM_MASK', when: amd },
  { index: 0xc0010140, name: 'OSVW_ID_LENGTH', when: feature('osvw'), reset: [0, 0] },
  { index: 0xc0010141, name: 'OSVW_STATUS', when: feature('osvw') },
  { index: 0xc0011020, name: 'LS_CFG', when: amd },
  { index: 0xc0011022, name: 'DC_CFG', when: amd },
  { index: 0xc0011023, name: 'BU_CFG', when: amd },
  { index: 0xc0011029, name: 'DE_CFG', when: amd },
  // Performance counters of the K7, which no CPUID bit announces: present, counting nothing.
  ...[0, 1, 2, 3].flatMap((i): MsrDefinition[] => [
    { index: 0xc0010000 + i, name: `PERF_EVT_SEL${i}`, when: amdWithoutCounters },
    { index: 0xc0010004 + i, name: `PERF_CTR${i}`, when: amdWithoutCounters },
  ]),
];

/** Every model-specific register of the emulator but those of the APIC, VMX and SVM (SDM Vol. 4; APM Vol. 2, "Model-Specific Registers"). */
export const msrDefinitions: readonly MsrDefinition[] = [
  {
    index: 0x10,
    name: 'IA32_TIME_STAMP_COUNTER',
    when: feature('tsc'),
    read: (cpu) => {
      readTsc(cpu);
      return true;
    },
    write: writeTsc,
  },
  { index: 0x3b, name: 'IA32_TSC_ADJUST', when: feature('tsc-adjust'), home: 'tscAdjust', write: writeTscAdjust },
  // C0.2 is not allowed (bit 0), and the most that a program may wait (31:2).
  { index: 0xe1, name: 'IA32_UMWAIT_CONTROL', when: feature('waitpkg'), mask: [~2, 0] },
  { index: 0xc0000103, name: 'IA32_TSC_AUX', when: feature('rdtscp', 'rdpid'), home: 'tscAux', mask: [-1, 0] },
  {
    index: 0xe7,
    name: 'IA32_MPERF',
    when: hasPerformanceClocks,
    read: (cpu) => {
      readHostTsc(cpu);
      return true;
    },
    write: () => true,
  },
  {
    index: 0xe8,
    name: 'IA32_APERF',
    when: hasPerformanceClocks,
    read: (cpu) => {
      readHostTsc(cpu);
      return true;
    },
    write: () => true,
  },
  // Enable in bit 0, the address of the bitmap's page from bit 12 on.
  { index: 0x1c, name: 'IA32_USER_MSR_CTL', when: feature('user-msr'), home: 'userMsrControl', canonical: true, mask: [~0xffe, -1] },
  // A barrier between registers of RDMSRLIST; reads as 0.
  { index: 0x2f, name: 'IA32_BARRIER', when: feature('msrlist'), constant: () => [0, 0] },
  { index: 0x174, name: 'IA32_SYSENTER_CS', when: sysenter, home: 'sysenterCs', mask: [0xffff, 0], ignore: true },
  { index: 0x175, name: 'IA32_SYSENTER_ESP', when: sysenter, home: 'sysenterEsp', canonical: true },
  { index: 0x176, name: 'IA32_SYSENTER_EIP', when: sysenter, home: 'sysenterEip', canonical: true },
  { index: 0xc0000080, name: 'IA32_EFER', when: feature('lm', 'nx', 'syscall'), home: 'efer', write: writeEfer },
  { index: 0xc0000081, name: 'IA32_STAR', when: feature('syscall'), home: 'star' },
  { index: 0xc0000082, name: 'IA32_LSTAR', when: feature('lm'), home: 'lstar', canonical: true },
  { index: 0xc0000083, name: 'IA32_CSTAR', when: feature('lm'), home: 'cstar', canonical: true },
  { index: 0xc0000084, name: 'IA32_FMASK', when: feature('lm'), home: 'fmask', mask: [-1, 0] },
  segmentBase(0xc0000100, 'IA32_FS_BASE', 4),
  segmentBase(0xc0000101, 'IA32_GS_BASE', 5),
  { index: 0xc0000102, name: 'IA32_KERNEL_GS_BASE', when: feature('lm'), home: 'kernelGsBase', canonical: true },
  { index: 0x6e1, name: 'IA32_PKRS', when: feature('pks'), home: 'pkrs', write: writePkrs },
  { index: 0xda0, name: 'IA32_XSS', when: feature('xsaves'), home: 'xss', allow: (cpu, lo, hi) => hi === 0 && (lo & ~cpu.features.xss) === 0 },
  { index: 0x1d9, name: 'IA32_DEBUGCTL', home: 'debugCtl', write: writeDebugCtl },
  { index: 0x1db, name: 'LAST_BRANCH_FROM_IP', home: 'lbrFrom', write: () => false },
  { index: 0x1dc, name: 'LAST_BRANCH_TO_IP', home: 'lbrTo', write: () => false },
  { index: 0x1dd, name: 'LAST_INT_FROM_IP', home: 'lastIntFrom', write: () => false },
  { index: 0x1de, name: 'LAST_INT_TO_IP', home: 'lastIntTo', write: () => false },
  { index: 0x9e, name: 'IA32_SMBASE', home: 'smbase', reset: [0x30000, 0], write: () => false },
  ...mtrrDefinitions,
  ...machineCheckDefinitions,
  ...speculation,
  ...intelDefinitions,
  ...amdDefinitions,
  ...counterMsrs,
  ...cetDefinitions,
  ...mpxDefinitions,
  ...userInterruptMsrs,
];
