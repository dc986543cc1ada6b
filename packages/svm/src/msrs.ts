import type { Vcpu } from '@nestvm/cpu';
import { EFER, INTERRUPTIBILITY, Shadow } from '@nestvm/cpu/extension';
import { ringDoorbell } from './avic/ipi.js';
import type { SvmContext } from './context.js';
import { HSAVE, SVM_KEY, TSC_RATIO, VM_CR } from './words.js';

/** Bits of VM_CR. */
export const VmCr = { DPD: 1 << 0, R_INIT: 1 << 1, DIS_A20M: 1 << 2, LOCK: 1 << 3, SVMDIS: 1 << 4 } as const;

const EFER_SVME = 1 << 12;
const MSR = {
  TSC_RATIO: 0xc0000104,
  VM_CR: 0xc0010114,
  IGNNE: 0xc0010115,
  SMM_CTL: 0xc0010116,
  HSAVE_PA: 0xc0010117,
  SVM_KEY: 0xc0010118,
  DOORBELL: 0xc001011b,
} as const;

/** VM_CR: LOCK and SVMDIS stay once LOCK is set; setting SVMDIS while SVM is in use is a fault, locked or not. */
function writeVmCr(svm: SvmContext, lo: number, hi: number): boolean {
  const { w } = svm.cpu;
  if (hi !== 0 || (lo & ~0x1f) !== 0) return false;
  if ((lo & VmCr.SVMDIS) !== 0 && (w[EFER]! & EFER_SVME) !== 0) return false;
  const old = w[VM_CR]!;
  const kept = (old & VmCr.LOCK) !== 0 ? VmCr.LOCK | VmCr.SVMDIS : 0;
  w[VM_CR] = (lo & ~kept) | (old & kept);
  return true;
}

/** SVM_KEY: sets the key while VM_CR is not locked, and unlocks it when the key is written again; zero is no key (APM Vol. 2, "SVM-Lock"). Nobody can read it. */
function writeKey({ cpu: { w } }: SvmContext, lo: number, hi: number): boolean {
  if ((w[VM_CR]! & VmCr.LOCK) === 0) {
    w[SVM_KEY] = lo;
    w[SVM_KEY + 1] = hi;
  } else if ((lo | hi) !== 0 && w[SVM_KEY] === lo && w[SVM_KEY + 1] === hi) w[VM_CR] = w[VM_CR]! & ~VmCr.LOCK;
  return true;
}

function defineWord(svm: SvmContext, index: number, name: string, at: number, write: (lo: number, hi: number) => boolean): void {
  svm.cpu.msrs.define({
    index,
    name,
    read: (cpu) => {
      cpu.lo = cpu.w[at]!;
      cpu.hi = cpu.w[at + 1]!;
      return true;
    },
    write: (_cpu, lo, hi) => write(lo, hi),
  });
}

/** Installs the registers of SVM (APM Vol. 2, "SVM Related MSRs"), and the condition of EFER.SVME. */
export function installMsrs(svm: SvmContext): void {
  const { cpu } = svm;
  const { w } = cpu;
  defineWord(svm, MSR.VM_CR, 'VM_CR', VM_CR, (lo, hi) => writeVmCr(svm, lo, hi));
  defineWord(svm, MSR.HSAVE_PA, 'VM_HSAVE_PA', HSAVE, (lo, hi) => {
    if ((lo & 0xfff) !== 0 || (hi & ~cpu.features.physicalHighMask) !== 0) return false;
    w[HSAVE] = lo;
    w[HSAVE + 1] = hi;
    return true;
  });
  if (svm.features.lock) {
    const read = (): boolean => {
      cpu.lo = cpu.hi = 0;
      return true;
    };
    cpu.msrs.define({ index: MSR.SVM_KEY, name: 'SVM_KEY', read, write: (_cpu, lo, hi) => writeKey(svm, lo, hi) });
  }
  cpu.msrs.define({ index: MSR.IGNNE, name: 'IGNNE', mask: [1, 0] });
  // SMM_CTL may be written only; what it asks for (leaving SMM by hand) the emulator's SMM has no use for.
  cpu.msrs.define({ index: MSR.SMM_CTL, name: 'SMM_CTL', read: () => false, write: (_cpu, lo, hi) => hi === 0 && (lo & ~0x1f) === 0 });
  if (svm.features.avic) {
    const write = (_cpu: Vcpu, lo: number, hi: number): boolean => {
      if (hi === 0) ringDoorbell(svm, lo >>> 0);
      return hi === 0;
    };
    cpu.msrs.define({ index: MSR.DOORBELL, name: 'AVIC_DOORBELL', read: () => false, write });
  }
  if (svm.features.tscScale) {
    defineWord(svm, MSR.TSC_RATIO, 'TSC_RATIO', TSC_RATIO, (lo, hi) => {
      if ((hi & ~0xff) !== 0) return false;
      w[TSC_RATIO] = lo;
      w[TSC_RATIO + 1] = hi;
      return true;
    });
  }
  cpu.eferGuard = (old, value) => {
    if ((value & ~old & EFER_SVME) !== 0 && (w[VM_CR]! & VmCr.SVMDIS) !== 0) return false;
    // Without SVM nothing could set GIF again.
    if ((old & ~value & EFER_SVME) !== 0) w[INTERRUPTIBILITY] = w[INTERRUPTIBILITY]! & ~Shadow.GIF;
    return true;
  };
}

/** Values after RESET: SVM may be enabled, the TSC ratio is 1. */
export function resetMsrs(svm: SvmContext): void {
  const { w } = svm.cpu;
  w[VM_CR] = 0;
  w[VM_CR + 1] = 0;
  w[SVM_KEY] = 0;
  w[SVM_KEY + 1] = 0;
  w[HSAVE] = 0;
  w[HSAVE + 1] = 0;
  w[TSC_RATIO] = 0;
  w[TSC_RATIO + 1] = 1;
}
