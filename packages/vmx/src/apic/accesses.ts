import { Access } from '@nestvm/cpu';
import { ApicRegister } from '@nestvm/isa';
import { Proc2 } from '../controls/controls.js';
import { exitGuest } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { readableRegisters, writableRegisters } from './registers.js';

/** Access types of the exit qualification, bits 15:12. */
const AccessType = { READ: 0, WRITE: 1, FETCH: 2, EVENT_DELIVERY: 3 } as const;

/** Whether an access inside the APIC-access page goes to the virtual-APIC page: 32 bits at most, in the first four bytes of a register, one that is virtualized. */
function isVirtualized(vmx: Vmx, offset: number, bytes: number, type: number): boolean {
  const { controls, apic } = vmx;
  if (!apic.shadow || vmx.cpu.vectoring !== 0 || bytes > 4 || (offset & 15) + bytes > 4) return false;
  const register = offset & 0xff0;
  const registers = controls.hasProc2(Proc2.APIC_REGISTER_VIRTUALIZATION);
  if (type === Access.EXECUTE) return false;
  if (register === ApicRegister.TPR) return true;
  if (apic.delivers && (register === ApicRegister.EOI || register === ApicRegister.ICR_LOW)) return true;
  if (type === Access.READ) return registers && readableRegisters.has(register);
  if (apic.sends && register === ApicRegister.ICR_LOW) return true;
  return registers && writableRegisters.has(register);
}

/**
 * An access of the guest to the APIC-access page, judged by paging already (`mmu.physical`): true when it may go on, to the virtual-APIC page, whose address is
 * then in `mmu.physical`; false when it is refused, and `refusedAccess` will say what happens.
 */
export function apicAccess(vmx: Vmx, bytes: number, access: number): boolean {
  const { mmu, apic, cpu } = vmx;
  const offset = mmu.physical % 4096;
  const type = access & 3;
  // An earlier write must be emulated first: this access is tried again then.
  if (apic.written < 0 && isVirtualized(vmx, offset, bytes, type)) {
    mmu.physical = apic.page + offset;
    if (type === Access.WRITE) {
      apic.written = offset & 0xff0;
      cpu.requestAttention();
    }
    return true;
  }
  vmx.refusedOffset = offset;
  vmx.refusedType = type === Access.WRITE ? AccessType.WRITE : type === Access.EXECUTE ? AccessType.FETCH : AccessType.READ;
  return false;
}

/** What a refused access becomes: the emulation of an earlier write, or an APIC-access exit. */
export function refusedAccess(vmx: Vmx): void {
  const { apic, exitRecord, cpu } = vmx;
  const offset = vmx.refusedOffset;
  vmx.refusedOffset = -1;
  if (apic.written >= 0) {
    const reason = apic.service();
    if (reason >= 0) exitGuest(vmx, reason);
    return;
  }
  const type = cpu.vectoring !== 0 ? AccessType.EVENT_DELIVERY : vmx.refusedType;
  exitRecord.qualify(offset | (type << 12));
  if (cpu.vectoring === 0) exitRecord.resumeFlag = 'set';
  exitGuest(vmx, ExitReason.APIC_ACCESS);
}
