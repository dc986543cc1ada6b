import { Cr4, Efer, Xstate } from '@nestvm/isa';
import type { CpuModel } from './ports/model.js';

/** What a CPU model offers, as the booleans and masks that system instructions test. */
export interface Features {
  /** Asks for any feature by QEMU's name. */
  has(feature: string): boolean;
  readonly intel: boolean;
  readonly umip: boolean;
  readonly vme: boolean;
  readonly fsgsbase: boolean;
  readonly xsave: boolean;
  readonly xsaveopt: boolean;
  readonly xsavec: boolean;
  readonly xgetbv1: boolean;
  readonly xsaves: boolean;
  readonly pcid: boolean;
  readonly rdtscp: boolean;
  readonly rdpid: boolean;
  readonly syscall: boolean;
  readonly sysenter: boolean;
  readonly longMode: boolean;
  readonly monitor: boolean;
  readonly monitorx: boolean;
  readonly rdrand: boolean;
  readonly rdseed: boolean;
  readonly pku: boolean;
  readonly smap: boolean;
  readonly invpcid: boolean;
  readonly fxsr: boolean;
  /** FCS and FDS are deprecated: saved as 0. */
  readonly noFcsFds: boolean;
  readonly ffxsr: boolean;
  readonly lahfLong: boolean;
  /** CR4 bits that may be set. */
  readonly cr4: number;
  /** EFER bits that may be set (LMA is read-only beside these). */
  readonly efer: number;
  /** State components that XCR0 and IA32_XSS may have. */
  readonly xcr0: number;
  readonly xss: number;
  /** Bits 31:0 that physical addresses may have above bit 31. */
  readonly physicalHighMask: number;
}

const CR4_BY_FEATURE: readonly (readonly [string, number])[] = [
  ['vme', Cr4.VME | Cr4.PVI],
  ['tsc', Cr4.TSD],
  ['de', Cr4.DE],
  ['pse', Cr4.PSE],
  ['pae', Cr4.PAE],
  ['mce', Cr4.MCE],
  ['pge', Cr4.PGE],
  ['fxsr', Cr4.OSFXSR],
  ['sse', Cr4.OSXMMEXCPT],
  ['umip', Cr4.UMIP],
  ['la57', Cr4.LA57],
  ['vmx', Cr4.VMXE],
  ['fsgsbase', Cr4.FSGSBASE],
  ['pcid', Cr4.PCIDE],
  ['xsave', Cr4.OSXSAVE],
  ['smep', Cr4.SMEP],
  ['smap', Cr4.SMAP],
  ['pku', Cr4.PKE],
  ['pks', Cr4.PKS],
  ['cet-ss', Cr4.CET],
  ['cet-ibt', Cr4.CET],
  ['uintr', Cr4.UINTR],
];

const EFER_BY_FEATURE: readonly (readonly [string, number])[] = [
  ['syscall', Efer.SCE],
  ['lm', Efer.LME],
  ['nx', Efer.NXE],
  ['svm', Efer.SVME],
  ['fxsr-opt', Efer.FFXSR],
];

const XCR0_BY_FEATURE: readonly (readonly [string, number])[] = [
  ['xsave', Xstate.X87 | Xstate.SSE],
  ['avx', Xstate.AVX],
  ['mpx', Xstate.BNDREGS | Xstate.BNDCSR],
  ['pku', Xstate.PKRU],
  ['avx512f', Xstate.OPMASK | Xstate.ZMM_HI256 | Xstate.HI16_ZMM],
];

const XSS_BY_FEATURE: readonly (readonly [string, number])[] = [
  ['cet-ss', Xstate.CET_U | Xstate.CET_S],
  ['cet-ibt', Xstate.CET_U | Xstate.CET_S],
  ['uintr', Xstate.UINTR],
];

const maskOf = (model: CpuModel, table: readonly (readonly [string, number])[]): number =>
  table.reduce((mask, [feature, bits]) => (model.has(feature) ? mask | bits : mask), 0);

/** Reads a model once into {@link Features}. */
export function createFeatures(model: CpuModel): Features {
  const has = (feature: string): boolean => model.has(feature);
  return {
    has,
    intel: model.vendor === 'intel',
    umip: has('umip'),
    vme: has('vme'),
    fsgsbase: has('fsgsbase'),
    xsave: has('xsave'),
    xsaveopt: has('xsaveopt'),
    xsavec: has('xsavec'),
    xgetbv1: has('xgetbv1'),
    xsaves: has('xsaves'),
    pcid: has('pcid'),
    rdtscp: has('rdtscp'),
    rdpid: has('rdpid'),
    syscall: has('syscall'),
    sysenter: has('sep'),
    longMode: has('lm'),
    monitor: has('monitor'),
    monitorx: has('monitorx'),
    rdrand: has('rdrand'),
    rdseed: has('rdseed'),
    pku: has('pku'),
    smap: has('smap'),
    invpcid: has('invpcid'),
    fxsr: has('fxsr'),
    noFcsFds: has('zero-fcs-fds'),
    ffxsr: has('fxsr-opt'),
    lahfLong: has('lahf-lm'),
    // PCE is there on every CPU with RDPMC, counters or not.
    cr4: maskOf(model, CR4_BY_FEATURE) | Cr4.PCE,
    efer: maskOf(model, EFER_BY_FEATURE),
    xcr0: maskOf(model, XCR0_BY_FEATURE),
    xss: has('xsaves') ? maskOf(model, XSS_BY_FEATURE) : 0,
    physicalHighMask: model.physicalBits <= 32 ? 0 : model.physicalBits >= 64 ? -1 : 2 ** (model.physicalBits - 32) - 1,
  };
}
