import { ApicBase, ApicMsr, ApicRegister, LVT_WRITABLE, Svr } from './registers.js';

/** Whether an MSR lies in the x2APIC range. */
export const isX2ApicMsr = (index: number): boolean => index >= ApicMsr.X2APIC && index <= ApicMsr.X2APIC_LAST;

/** Registers that RDMSR may read in x2APIC mode ("Intel SDM Vol. 3, x2APIC Register Address Space"). */
function isReadable(register: number): boolean {
  if (register >= ApicRegister.ISR && register <= ApicRegister.ESR) return true;
  if (register >= ApicRegister.LVT_TIMER && register <= ApicRegister.CURRENT_COUNT) return true;
  switch (register) {
    case ApicRegister.ID:
    case ApicRegister.VERSION:
    case ApicRegister.TPR:
    case ApicRegister.PPR:
    case ApicRegister.LDR:
    case ApicRegister.SVR:
    case ApicRegister.ICR_LOW:
    case ApicRegister.DIVIDE:
      return true;
    default:
      return false;
  }
}

/** What the x2APIC registers need of a local APIC: `LocalApic` is one. */
export interface X2ApicTarget {
  /** Results of a read: int32 halves. */
  msrLo: number;
  msrHi: number;
  readRegister(register: number): number;
  writeRegister(register: number, value: number): void;
  writeIcr(low: number, high: number): void;
  sendIpi(command: number, destination: number, wide: boolean): void;
}

/** Reads a register into the APIC's `msrLo` and `msrHi`; false means #GP. */
export function readX2Apic(apic: X2ApicTarget, register: number): boolean {
  if (!isReadable(register)) return false;
  apic.msrLo = apic.readRegister(register) | 0;
  apic.msrHi = register === ApicRegister.ICR_LOW ? apic.readRegister(ApicRegister.ICR_HIGH) | 0 : 0;
  return true;
}

/** Reserved bits of the 32-bit registers that WRMSR may write; undefined for the others. */
function reservedBits(register: number): number | undefined {
  if (register >= ApicRegister.LVT_TIMER && register <= ApicRegister.LVT_ERROR) {
    // The delivery status (and LINT's remote IRR) is read-only, not reserved.
    const readOnly = register === ApicRegister.LVT_LINT0 || register === ApicRegister.LVT_LINT1 ? 0x5000 : 0x1000;
    return ~(LVT_WRITABLE[register - ApicRegister.LVT_TIMER] | readOnly);
  }
  switch (register) {
    case ApicRegister.TPR:
    case ApicRegister.SELF_IPI:
      return ~0xff;
    case ApicRegister.EOI:
    case ApicRegister.ESR:
      return ~0;
    case ApicRegister.SVR:
      return ~Svr.WRITABLE;
    case ApicRegister.INITIAL_COUNT:
      return 0;
    case ApicRegister.DIVIDE:
      return ~0x0b;
    default:
      return undefined;
  }
}

/** Reserved bits of the x2APIC interrupt command: delivery status is gone. */
const ICR_RESERVED = ~0x000c_cfff;

/** Writes a register; false means #GP, and nothing has changed. */
export function writeX2Apic(apic: X2ApicTarget, register: number, low: number, high: number): boolean {
  if (register === ApicRegister.ICR_LOW) {
    if (low & ICR_RESERVED) return false;
    apic.writeIcr(low, high);
    return true;
  }
  const reserved = reservedBits(register);
  if (reserved === undefined || high !== 0 || low & reserved) return false;
  if (register === ApicRegister.SELF_IPI) apic.sendIpi(0x4_0000 | low, 0, true);
  else apic.writeRegister(register, low);
  return true;
}

/** Which modes and addresses IA32_APIC_BASE may name: `LocalApicOptions` has them. */
export interface ApicBaseLimits {
  readonly x2apic?: boolean;
  readonly physicalAddressBits?: number;
}

/** Whether IA32_APIC_BASE may go from `before` to this value: reserved bits, existing modes, legal transitions. */
export function validBase(before: number, low: number, high: number, { x2apic = true, physicalAddressBits = 40 }: ApicBaseLimits): boolean {
  if (low & ApicBase.RESERVED || high >>> 0 >= 2 ** (physicalAddressBits - 32)) return false;
  const { ENABLE, X2APIC } = ApicBase;
  if (low & X2APIC && (!x2apic || !(low & ENABLE))) return false;
  if (before & X2APIC) return (low & X2APIC) !== 0 || !(low & ENABLE);
  // From disabled to x2APIC only by way of xAPIC.
  return !(low & X2APIC) || (before & ENABLE) !== 0;
}
