import { CR0, deliverFault } from '@nestvm/cpu/extension';
import { Cr0, Vector } from '@nestvm/isa';
import { Proc2 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { addressAt } from '../state.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

const f = { area: F.VE_INFORMATION_ADDRESS, index: F.EPTP_INDEX } as const;

/** The virtualization-exception information area (SDM Vol. 3, "Virtualization-Exception Information"). */
const Area = { REASON: 0, BUSY: 4, QUALIFICATION: 8, LINEAR: 16, PHYSICAL: 24, EPTP_INDEX: 32 } as const;

/** Whether an EPT violation is delivered to the guest as #VE (SDM Vol. 3, "Convertible EPT Violations"). */
function isConvertible(vmx: Vmx): boolean {
  const { cpu, controls, mmu, i32, region, memory } = vmx;
  if (!controls.hasProc2(Proc2.EPT_VIOLATION_VE) || mmu.stageFault.suppressVe) return false;
  if ((cpu.w[CR0]! & Cr0.PE) === 0 || cpu.vectoring !== 0) return false;
  return memory.read32(addressAt(i32, region + f.area) + Area.BUSY) === 0;
}

/** Delivers a convertible EPT violation as a virtualization exception; false: it is an exit. */
export function deliverAsException(vmx: Vmx): boolean {
  if (!isConvertible(vmx)) return false;
  const { cpu, mmu, i32, region, memory } = vmx;
  const fault = mmu.stageFault;
  const area = addressAt(i32, region + f.area);
  memory.write32(area + Area.REASON, ExitReason.EPT_VIOLATION);
  memory.write32(area + Area.BUSY, 0xffffffff);
  memory.write32(area + Area.QUALIFICATION, fault.qualification >>> 0);
  memory.write32(area + Area.QUALIFICATION + 4, 0);
  memory.write32(area + Area.LINEAR, fault.linearLo >>> 0);
  memory.write32(area + Area.LINEAR + 4, fault.linearHi >>> 0);
  memory.write32(area + Area.PHYSICAL, fault.guestPhysical % 4294967296);
  memory.write32(area + Area.PHYSICAL + 4, Math.floor(fault.guestPhysical / 4294967296));
  memory.write16(area + Area.EPTP_INDEX, i32[region + f.index]! & 0xffff);
  cpu.raise(Vector.VE);
  deliverFault(cpu);
  return true;
}
