import { EFER, SMM } from '@nestvm/cpu/extension';
import { Efer } from '@nestvm/isa';
import { firstFailure } from '../checks/table.js';
import { F } from '../fields/layout.js';
import type { Vmx } from '../vmx.js';
import { failEntry } from './exit.js';

/** Shows the current VMCS and the processor to the checks. */
export function describeEntry(vmx: Vmx): void {
  const { entryContext: c, cpu } = vmx;
  const { w } = cpu;
  c.base = vmx.region;
  c.currentVmcs = vmx.regionAddress;
  c.vmxonRegion = vmx.vmxonAddress;
  c.longMode = (w[EFER]! & Efer.LMA) !== 0;
  c.inSmm = w[SMM] !== 0;
  // Only the MSR-load list asks.
  c.x2apic = c.lo(F.ENTRY_MSR_LOAD_COUNT) !== 0 && cpu.interrupts.readMsr(APIC_BASE) && (cpu.interrupts.msrLo & X2APIC_ENABLED) !== 0;
}

const APIC_BASE = 0x1b;
const X2APIC_ENABLED = 1 << 10;

/** Checks the current VMCS: 0 when the entry may go on, the VM-instruction error of a VMfail, or -1 when the entry failed with an exit (made already). */
export function checkEntry(vmx: Vmx): number {
  describeEntry(vmx);
  const failed = firstFailure(vmx.entryContext, vmx.remembered);
  if (failed === undefined) return 0;
  const { kind, number, qualification } = failed.failure;
  if (kind === 'VMfailValid') return number;
  failEntry(vmx, number, qualification, false);
  return -1;
}
