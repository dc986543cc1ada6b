import type { Vcpu } from '@nestvm/cpu';

/** Which parts of SVM the CPU model offers (CPUID 8000_000AH), read once. */
export interface SvmFeatures {
  readonly npt: boolean;
  readonly nrips: boolean;
  readonly decodeAssists: boolean;
  readonly pauseFilter: boolean;
  readonly pauseThreshold: boolean;
  readonly flushByAsid: boolean;
  readonly tscScale: boolean;
  readonly vgif: boolean;
  readonly vnmi: boolean;
  readonly virtualVmload: boolean;
  readonly idleHlt: boolean;
  readonly lock: boolean;
  readonly lbrv: boolean;
  readonly avic: boolean;
  readonly x2avic: boolean;
  readonly pages1g: boolean;
  /** S_CET, SSP and ISST_ADDR are in the VMCB. */
  readonly cet: boolean;
  /** By how many bits an address's high half is shifted to see whether it is canonical: 16, or 7 with 57-bit addresses. */
  readonly canonicalShift: 16 | 7;
  /** CR4 and EFER bits that a guest may have set. */
  readonly cr4: number;
  readonly efer: number;
}

const LMA = 1 << 10;

/** Reads a vCPU's model into {@link SvmFeatures}. */
export function createSvmFeatures(cpu: Vcpu): SvmFeatures {
  const has = (feature: string): boolean => cpu.features.has(feature);
  return {
    npt: has('npt'),
    nrips: has('nrip-save'),
    decodeAssists: has('decodeassists'),
    pauseFilter: has('pause-filter'),
    pauseThreshold: has('pfthreshold'),
    flushByAsid: has('flushbyasid'),
    tscScale: has('tsc-scale'),
    vgif: has('vgif'),
    vnmi: has('vnmi'),
    virtualVmload: has('v-vmsave-vmload'),
    idleHlt: has('idle-hlt'),
    lbrv: has('lbrv'),
    lock: has('svm-lock'),
    avic: has('avic'),
    x2avic: has('x2avic'),
    pages1g: has('pdpe1gb'),
    cet: has('cet-ss') || has('cet-ibt'),
    canonicalShift: has('la57') ? 7 : 16,
    cr4: cpu.features.cr4,
    efer: cpu.features.efer | LMA,
  };
}
