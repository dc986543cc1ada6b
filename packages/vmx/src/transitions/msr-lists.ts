import type { Vmx } from '../vmx.js';

const FS_BASE = 0xc0000100 | 0;
const GS_BASE = 0xc0000101 | 0;
const SMM_MONITOR_CTL = 0x9b;
const SMBASE = 0x9e;
const BIOS_UPDT_TRIG = 0x79;
const BIOS_SIGN_ID = 0x8b;

/** Registers of the local APIC in x2APIC mode. */
const isApicMsr = (index: number): boolean => index >>> 8 === 8;

/** Whether a list may load this MSR at all; lists end at the number of entries that IA32_VMX_MISC recommends as the most (SDM Vol. 3, "Loading MSRs"). */
function mayLoad(index: number, reserved: number): boolean {
  if (reserved !== 0 || isApicMsr(index) || index === FS_BASE || index === GS_BASE) return false;
  return index !== SMM_MONITOR_CTL && index !== SMBASE && index !== BIOS_UPDT_TRIG && index !== BIOS_SIGN_ID;
}

/** Loads a list of `count` MSRs; gives the number (from 1) of the entry that cannot be loaded, or 0. */
export function loadMsrList(vmx: Vmx, address: number, count: number): number {
  const { memory } = vmx;
  const { msrListLimit } = vmx.capabilities;
  for (let i = 0; i < count; i++) {
    if (i === msrListLimit) return i + 1;
    const at = address + 16 * i;
    const index = memory.read32(at) | 0;
    if (!mayLoad(index, memory.read32(at + 4))) return i + 1;
    if (!vmx.cpu.msrs.write(index >>> 0, memory.read32(at + 8) | 0, memory.read32(at + 12) | 0)) return i + 1;
  }
  return 0;
}

/** Stores a list of `count` MSRs (SDM Vol. 3, "Saving MSRs"); gives the number (from 1) of the entry that cannot be stored, or 0. */
export function storeMsrList(vmx: Vmx, address: number, count: number): number {
  const { memory, cpu } = vmx;
  const { msrListLimit } = vmx.capabilities;
  for (let i = 0; i < count; i++) {
    if (i === msrListLimit) return i + 1;
    const at = address + 16 * i;
    const index = memory.read32(at) | 0;
    const refused = memory.read32(at + 4) !== 0 || isApicMsr(index) || index === SMBASE;
    if (refused || !cpu.msrs.read(index >>> 0)) return i + 1;
    const { lo, hi } = cpu;
    memory.write32(at + 8, lo >>> 0);
    memory.write32(at + 12, hi >>> 0);
  }
  return 0;
}
