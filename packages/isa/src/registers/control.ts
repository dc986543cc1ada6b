/** Bits of CR0 (SDM Vol. 3, "Control Registers"). PG is bit 31: compare as unsigned or test the sign. */
export const Cr0 = {
  PE: 1 << 0,
  MP: 1 << 1,
  EM: 1 << 2,
  TS: 1 << 3,
  ET: 1 << 4,
  NE: 1 << 5,
  WP: 1 << 16,
  AM: 1 << 18,
  NW: 1 << 29,
  CD: 1 << 30,
  PG: 1 << 31,
} as const;

/** Bits of CR4 (SDM Vol. 3, "Control Registers"). */
export const Cr4 = {
  VME: 1 << 0,
  PVI: 1 << 1,
  TSD: 1 << 2,
  DE: 1 << 3,
  PSE: 1 << 4,
  PAE: 1 << 5,
  MCE: 1 << 6,
  PGE: 1 << 7,
  PCE: 1 << 8,
  OSFXSR: 1 << 9,
  OSXMMEXCPT: 1 << 10,
  UMIP: 1 << 11,
  LA57: 1 << 12,
  VMXE: 1 << 13,
  SMXE: 1 << 14,
  FSGSBASE: 1 << 16,
  PCIDE: 1 << 17,
  OSXSAVE: 1 << 18,
  KL: 1 << 19,
  SMEP: 1 << 20,
  SMAP: 1 << 21,
  PKE: 1 << 22,
  CET: 1 << 23,
  PKS: 1 << 24,
  UINTR: 1 << 25,
} as const;

/** Bits of IA32_EFER (SDM Vol. 3, "Extended Feature Enables"; APM Vol. 2, "Extended Feature Enable Register"). */
export const Efer = {
  SCE: 1 << 0,
  LME: 1 << 8,
  LMA: 1 << 10,
  NXE: 1 << 11,
  SVME: 1 << 12,
  LMSLE: 1 << 13,
  FFXSR: 1 << 14,
  TCE: 1 << 15,
  MCOMMIT: 1 << 17,
  UAIE: 1 << 20,
  AIBRSE: 1 << 21,
} as const;

/** Bits of RFLAGS. */
export const Rflags = {
  CF: 1 << 0,
  ONE: 1 << 1,
  PF: 1 << 2,
  AF: 1 << 4,
  ZF: 1 << 6,
  SF: 1 << 7,
  TF: 1 << 8,
  IF: 1 << 9,
  DF: 1 << 10,
  OF: 1 << 11,
  IOPL: 3 << 12,
  NT: 1 << 14,
  RF: 1 << 16,
  VM: 1 << 17,
  AC: 1 << 18,
  VIF: 1 << 19,
  VIP: 1 << 20,
  ID: 1 << 21,
  /** CF PF AF ZF SF OF: the flags that are lazy in `vcpuState`. */
  ARITHMETIC: 0x8d5,
} as const;

/** Bits of DR6. */
export const Dr6 = { B0: 1 << 0, B1: 1 << 1, B2: 1 << 2, B3: 1 << 3, BLD: 1 << 11, BD: 1 << 13, BS: 1 << 14, BT: 1 << 15, RTM: 1 << 16 } as const;

/** Bits of DR7; each breakpoint has its enable pair at 2n and its R/W and LEN fields at 16+4n. */
export const Dr7 = { ENABLE: 0xff, LE: 1 << 8, GE: 1 << 9, FIXED: 1 << 10, RTM: 1 << 11, GD: 1 << 13 } as const;

/** Bits of IA32_U_CET and IA32_S_CET (SDM Vol. 1, "Control-flow Enforcement Technology"); bits 63:12 are the page of the legacy bitmap. */
export const CetControl = {
  SH_STK_EN: 1 << 0,
  WR_SHSTK_EN: 1 << 1,
  ENDBR_EN: 1 << 2,
  LEG_IW_EN: 1 << 3,
  NO_TRACK_EN: 1 << 4,
  SUPPRESS_DIS: 1 << 5,
  SUPPRESS: 1 << 10,
  /** Waiting for an ENDBRANCH; IDLE when clear. */
  TRACKER: 1 << 11,
} as const;

/** Error codes of #CP (SDM Vol. 3, "Control Protection Exception (#CP)"). */
export const ControlProtection = { NEAR_RET: 1, FAR_RET: 2, ENDBRANCH: 3, RSTORSSP: 4, SETSSBSY: 5 } as const;

/** Bits 1:0 of BNDCFGU and IA32_BNDCFGS; the bound directory's page is above them (SDM Vol. 1, "Intel MPX Configuration and Status Registers"). */
export const BoundConfig = { EN: 1 << 0, PRESERVE: 1 << 1 } as const;

/** Bits 1:0 of BNDSTATUS: a bound was violated, or an entry of the bound directory is not valid (the rest is its address). */
export const BoundStatus = { VIOLATION: 1, BAD_ENTRY: 2 } as const;

/** State components of XCR0 and IA32_XSS (SDM Vol. 1, "Managing State Using the XSAVE Feature Set"). */
export const Xstate = {
  X87: 1 << 0,
  SSE: 1 << 1,
  AVX: 1 << 2,
  BNDREGS: 1 << 3,
  BNDCSR: 1 << 4,
  OPMASK: 1 << 5,
  ZMM_HI256: 1 << 6,
  HI16_ZMM: 1 << 7,
  PT: 1 << 8,
  PKRU: 1 << 9,
  CET_U: 1 << 11,
  CET_S: 1 << 12,
  UINTR: 1 << 14,
} as const;

/** Exception vectors (SDM Vol. 3, "Exception and Interrupt Vectors"). */
export const Vector = {
  DE: 0,
  DB: 1,
  NMI: 2,
  BP: 3,
  OF: 4,
  BR: 5,
  UD: 6,
  NM: 7,
  DF: 8,
  TS: 10,
  NP: 11,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  MC: 18,
  XM: 19,
  VE: 20,
  CP: 21,
} as const;
