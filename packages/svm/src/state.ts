import { array, struct, u16, u32, u64 } from '@nestvm/state';

/**
 * What SVM adds to the state of a vCPU; it lies in `vcpuState.extension`. The host's registers are what VMRUN saves: real processors may keep them inside or in
 * the page at VM_HSAVE_PA, so software cannot rely on either.
 */
export const svmState = struct('svm', 1, {
  /** ES, CS, SS, DS. */
  hostSelector: array(u16, 4),
  hostAttributes: array(u32, 4),
  hostLimit: array(u32, 4),
  hostBase: array(u64, 4),
  hostGdtrBase: u64,
  hostIdtrBase: u64,
  hostGdtrLimit: u32,
  hostIdtrLimit: u32,
  hostEfer: u64,
  hostCr0: u64,
  hostCr3: u64,
  hostCr4: u64,
  hostRip: u64,
  hostRsp: u64,
  hostRax: u64,
  hostPat: u64,
  /** Physical address of the VMCB in force; meaningful in guest mode. */
  vmcbAddress: u64,
  hsave: u64,
  vmCr: u64,
  tscRatio: u64,
  /** Low half of the TSC at the last PAUSE, and how many more the PAUSE filter lets pass. */
  lastPause: u64,
  hostRflags: u32,
  pauseCount: u32,
  /** `guestMode` of the guest that an SMM handler has interrupted, while that runs. */
  smmGuest: u32,
  /** IA32_DEBUGCTL, the last branch and the last one before an interrupt. They came last: what is above keeps its place in saved states. */
  hostDebugCtl: u64,
  hostLastBranch: array(u64, 4),
  /** S_CET, SSP and the table of interrupt SSPs. */
  hostCet: array(u64, 3),
  /** SVM_KEY: what unlocks VM_CR; 0 for nothing. */
  svmKey: u64,
});
