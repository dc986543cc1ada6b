import { GPR } from '@nestvm/cpu/extension';
import { TSC_DEADLINE } from '../apic/deadline.js';
import { readApicMsr, writeApicMsr } from '../apic/msrs.js';
import { Proc1, Proc3 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { exitForInstruction, exitQualified } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { skip } from './control-registers.js';
import { readSpecCtrl, SPEC_CTRL, writeSpecCtrl } from './spec-ctrl.js';

const RAX = GPR;
const RDX = GPR + 4;

/** Bit of the bitmaps: they cover 0-1FFFH and C0000000H-C0001FFFH, a KiB each for reading and then for writing. -1 outside. */
export function msrBit(index: number, write: boolean): number {
  const low = index < 0x2000;
  if (!low && (index < 0xc0000000 || index > 0xc0001fff)) return -1;
  return (low ? 0 : 0x2000) + (write ? 0x4000 : 0) + (index & 0x1fff);
}

/** Whether the access exits. */
function exits(vmx: Vmx, index: number, write: boolean): boolean {
  const { controls, memory } = vmx;
  if (!controls.hasProc1(Proc1.USE_MSR_BITMAPS)) return true;
  const bit = msrBit(index, write);
  return bit < 0 || ((memory.read8(controls.msrBitmap + (bit >>> 3)) >>> (bit & 7)) & 1) !== 0;
}

/** The instruction was carried out here. */
function done(vmx: Vmx, length: number): true {
  skip(vmx, length);
  vmx.cpu.attention = 1;
  return true;
}

/** RDMSR that does not exit, where VMX virtualizes the register; false: it is read as usual. */
function readVirtual(vmx: Vmx, length: number, index: number): boolean {
  if (index === SPEC_CTRL && vmx.controls.hasProc3(Proc3.VIRTUALIZE_SPEC_CTRL)) return readSpecCtrl(vmx, length);
  if (index === TSC_DEADLINE && vmx.controls.hasProc3(Proc3.APIC_TIMER_VIRTUALIZATION)) {
    vmx.deadline.read();
    return done(vmx, length);
  }
  return readApicMsr(vmx, index, length);
}

/** WRMSR, likewise. */
function writeVirtual(vmx: Vmx, length: number, index: number): boolean {
  if (index === SPEC_CTRL && vmx.controls.hasProc3(Proc3.VIRTUALIZE_SPEC_CTRL)) return writeSpecCtrl(vmx, length);
  if (index === TSC_DEADLINE && vmx.controls.hasProc3(Proc3.APIC_TIMER_VIRTUALIZATION)) {
    vmx.deadline.write();
    return done(vmx, length);
  }
  return writeApicMsr(vmx, index, length);
}

export const msrRead = (vmx: Vmx, length: number, index: number): boolean =>
  exits(vmx, index, false) ? exitForInstruction(vmx, ExitReason.RDMSR, length) : readVirtual(vmx, length, index);

export function msrWrite(vmx: Vmx, length: number, index: number): boolean {
  // The qualification tells WRMSRNS apart.
  if (exits(vmx, index, true)) return exitQualified(vmx, ExitReason.WRMSR, length, vmx.cpu.instruction?.row.mnemonic === 'WRMSRNS' ? 1 : 0);
  return writeVirtual(vmx, length, index);
}

/** Runs what virtualizes RDMSR or WRMSR, which works on EDX:EAX, for an instruction whose value is in another register, and says whether it did. */
function throughEdxEax(vmx: Vmx, length: number, index: number, write: boolean): boolean {
  const { w, instruction } = vmx.cpu;
  const own = [w[RAX]!, w[RAX + 1]!, w[RDX]!, w[RDX + 1]!] as const;
  const register = GPR + 2 * instruction!.rm;
  if (write) [w[RAX], w[RDX]] = [w[register]!, w[register + 1]!];
  const isDone = write ? writeVirtual(vmx, length, index) : readVirtual(vmx, length, index);
  const value = [w[RAX]!, w[RDX]!] as const;
  [w[RAX], w[RAX + 1], w[RDX], w[RDX + 1]] = own;
  if (isDone && !write) [w[register], w[register + 1]] = value;
  return isDone;
}

/**
 * RDMSR and WRMSRNS of an immediate, URDMSR and UWRMSR: as RDMSR and WRMSR, with exits of their own that name the MSR, and in bits 6:3 of the instruction information
 * the register with the value (SDM Vol. 3, "Exit Qualification" and "Information for VM Exits Due to Instruction Execution").
 */
export const msrOperand =
  (reason: number, write: boolean) =>
  (vmx: Vmx, length: number, index: number): boolean => {
    if (!exits(vmx, index, write)) return throughEdxEax(vmx, length, index, write);
    vmx.exitRecord.information = vmx.cpu.instruction!.rm << 3;
    return exitQualified(vmx, reason, length, index | 0);
  };

/**
 * Whether a register of an MSR list exits. IA32_SPEC_CTRL and IA32_TSC_DEADLINE, which VMX virtualizes without an exit, do so here as if the bitmaps said it:
 * their virtualization is of single reads and writes. That of x2APIC registers is in `apic/msrs.ts`.
 */
function exitsInList(vmx: Vmx, index: number, write: boolean): boolean {
  const { controls } = vmx;
  if (index === SPEC_CTRL && controls.hasProc3(Proc3.VIRTUALIZE_SPEC_CTRL)) return true;
  if (index === TSC_DEADLINE && controls.hasProc3(Proc3.APIC_TIMER_VIRTUALIZATION)) return true;
  return exits(vmx, index, write);
}

/** An exit of RDMSRLIST or WRMSRLIST names its MSR when bitmaps are in use (SDM Vol. 2, "RDMSRLIST"). */
const exitOfList = (vmx: Vmx, reason: number, length: number, index: number): boolean =>
  exitQualified(vmx, reason, length, vmx.controls.hasProc1(Proc1.USE_MSR_BITMAPS) ? index | 0 : 0);

/** One register of RDMSRLIST. */
export const msrListRead = (vmx: Vmx, length: number, index: number): boolean =>
  exitsInList(vmx, index, false) && exitOfList(vmx, ExitReason.RDMSRLIST, length, index);

/** One register of WRMSRLIST, whose value is in `cpu.lo`/`cpu.hi`. */
export function msrListWrite(vmx: Vmx, length: number, index: number): boolean {
  if (!exitsInList(vmx, index, true)) return false;
  const { i32, region, cpu } = vmx;
  i32[region + F.MSR_DATA] = cpu.lo;
  i32[region + F.MSR_DATA + 1] = cpu.hi;
  return exitOfList(vmx, ExitReason.WRMSRLIST, length, index);
}
