/** Offsets of local-APIC registers in the virtual-APIC page (SDM Vol. 3, "Local APIC Register Address Map"). */
export const ApicRegister = {
  ID: 0x20,
  VERSION: 0x30,
  TPR: 0x80,
  PPR: 0xa0,
  EOI: 0xb0,
  LDR: 0xd0,
  DFR: 0xe0,
  SVR: 0xf0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  CMCI: 0x2f0,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_ERROR: 0x370,
  TIMER_INITIAL: 0x380,
  TIMER_DIVIDE: 0x3e0,
  SELF_IPI: 0x3f0,
} as const;

const R = ApicRegister;
const among = (...registers: readonly number[]): ReadonlySet<number> => new Set(registers);
const row = (first: number, last: number): number[] => Array.from({ length: (last - first) / 16 + 1 }, (_, i) => first + 16 * i);

/** Registers that the guest reads from the virtual-APIC page under APIC-register virtualization. */
export const readableRegisters = among(
  R.ID,
  R.VERSION,
  R.TPR,
  R.EOI,
  R.LDR,
  R.DFR,
  R.SVR,
  R.ESR,
  R.CMCI,
  R.ICR_LOW,
  R.ICR_HIGH,
  R.TIMER_INITIAL,
  R.TIMER_DIVIDE,
  ...row(R.ISR, 0x170),
  ...row(R.TMR, 0x1f0),
  ...row(R.IRR, 0x270),
  ...row(R.LVT_TIMER, R.LVT_ERROR),
);

/** Registers that it writes there. */
export const writableRegisters = among(
  R.ID,
  R.TPR,
  R.EOI,
  R.LDR,
  R.DFR,
  R.SVR,
  R.ESR,
  R.CMCI,
  R.ICR_LOW,
  R.ICR_HIGH,
  R.TIMER_INITIAL,
  R.TIMER_DIVIDE,
  ...row(R.LVT_TIMER, R.LVT_ERROR),
);
