import { ApicRegister } from '@nestvm/isa';

const R = ApicRegister;
const among = (...registers: readonly number[]): ReadonlySet<number> => new Set(registers);
const row = (first: number, last: number): number[] => Array.from({ length: (last - first) / 16 + 1 }, (_, i) => first + 16 * i);

/** Registers that the guest reads from the virtual-APIC page under APIC-register virtualization; LVT CMCI is none of them (SDM Vol. 3, "Virtualizing Reads from the APIC-Access Page"). */
export const readableRegisters = among(
  R.ID,
  R.VERSION,
  R.TPR,
  R.EOI,
  R.LDR,
  R.DFR,
  R.SVR,
  R.ESR,
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
  R.ICR_LOW,
  R.ICR_HIGH,
  R.TIMER_INITIAL,
  R.TIMER_DIVIDE,
  ...row(R.LVT_TIMER, R.LVT_ERROR),
);
