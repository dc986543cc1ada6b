import { deliverFault, GPR, ListedWrite } from '@nestvm/cpu/extension';
import { ApicRegister, Vector } from '@nestvm/isa';
import { Proc2 } from '../controls/controls.js';
import { skip } from '../intercepts/control-registers.js';
import { endInstruction, exitGuest } from '../transitions/exit.js';
import type { Vmx } from '../vmx.js';

const RAX = GPR;
const RDX = GPR + 4;
const TPR = 0x808;
const EOI = 0x80b;
const ICR = 0x830;
const SELF_IPI = 0x83f;
/** Bits 31:20, 17:16 and 13 of the interrupt command are reserved in x2APIC mode. */
const ICR_RESERVED = 0xfff3_2000 | 0;

const inRange = (index: number): boolean => index >= 0x800 && index <= 0x8ff;

function protection(vmx: Vmx): true {
  vmx.cpu.raise(Vector.GP, 0);
  deliverFault(vmx.cpu);
  endInstruction(vmx.cpu);
  return true;
}

/** How virtualized x2APIC mode takes a write of a register (SDM Vol. 3, "Virtualizing MSR-Based APIC Accesses"). */
const Judged = { NOT_VIRTUAL: 0, GOOD: 1, BAD: 2 } as const;

function judge({ apic, controls }: Vmx, index: number, lo: number, hi: number): number {
  if (!inRange(index) || !controls.hasProc2(Proc2.VIRTUALIZE_X2APIC_MODE)) return Judged.NOT_VIRTUAL;
  const good = (is: boolean): number => (is ? Judged.GOOD : Judged.BAD);
  if (index === ICR && apic.sends) return good((lo & ICR_RESERVED) === 0);
  if (index === TPR || (index === SELF_IPI && apic.delivers)) return good(hi === 0 && (lo & ~0xff) === 0);
  return index === EOI && apic.delivers ? good((hi | lo) === 0) : Judged.NOT_VIRTUAL;
}

/** Carries out a write that was judged good; gives the reason of the trap-like exit that follows it, or -1. */
function carryOut({ apic }: Vmx, index: number, lo: number, hi: number): number {
  switch (index) {
    case ICR:
      apic.write(ApicRegister.ICR_LOW, lo);
      apic.write(ApicRegister.ICR_LOW + 4, hi);
      return apic.post(lo, hi) ? -1 : apic.unaccelerated(ApicRegister.ICR_LOW);
    case TPR:
      apic.write(ApicRegister.TPR, lo);
      apic.tprChanged();
      return -1;
    case EOI:
      return apic.endOfInterrupt();
    default:
      apic.write(ApicRegister.SELF_IPI, lo);
      if ((lo & 0xf0) !== 0) apic.request(lo);
      else apic.written = ApicRegister.SELF_IPI;
      return -1;
  }
}

/** Reads an x2APIC register of virtualized x2APIC mode into `cpu.lo`/`cpu.hi`; false: it is not virtualized. */
export function readVirtualMsr({ apic, controls, cpu, memory }: Vmx, index: number): boolean {
  if (!inRange(index) || !controls.hasProc2(Proc2.VIRTUALIZE_X2APIC_MODE)) return false;
  if (index !== TPR && !controls.hasProc2(Proc2.APIC_REGISTER_VIRTUALIZATION)) return false;
  const at = apic.page + ((index & 0xff) << 4);
  cpu.lo = memory.read32(at) | 0;
  cpu.hi = memory.read32(at + 4) | 0;
  return true;
}

/** RDMSR of an x2APIC register in virtualized x2APIC mode; false: the MSR is read as usual. */
export function readApicMsr(vmx: Vmx, index: number, length: number): boolean {
  const { cpu } = vmx;
  if (!readVirtualMsr(vmx, index)) return false;
  const { w } = cpu;
  w[RAX] = cpu.lo;
  w[RAX + 1] = 0;
  w[RDX] = cpu.hi;
  w[RDX + 1] = 0;
  skip(vmx, length);
  cpu.attention = 1;
  return true;
}

/** WRMSR, likewise: TPR, under virtual-interrupt delivery EOI and self-IPI, under IPI virtualization the interrupt command. */
export function writeApicMsr(vmx: Vmx, index: number, length: number): boolean {
  const { cpu } = vmx;
  const lo = cpu.w[RAX]!;
  const hi = cpu.w[RDX]!;
  const judged = judge(vmx, index, lo, hi);
  if (judged === Judged.NOT_VIRTUAL) return false;
  if (judged === Judged.BAD) return protection(vmx);
  // The exits are trap-like: RIP is past the instruction already.
  skip(vmx, length);
  cpu.attention = 1;
  const reason = carryOut(vmx, index, lo, hi);
  if (reason >= 0) exitGuest(vmx, reason);
  return true;
}

/**
 * One register of WRMSRLIST, likewise, with its value in `cpu.lo`/`cpu.hi`: a `ListedWrite`. The exit that follows it waits until the list's bit is cleared: see
 * {@link leaveList}.
 */
export function writeListedMsr(vmx: Vmx, index: number): number {
  const { cpu } = vmx;
  const { lo, hi } = cpu;
  const judged = judge(vmx, index, lo, hi);
  if (judged === Judged.NOT_VIRTUAL) return ListedWrite.PLAIN;
  if (judged === Judged.BAD) {
    cpu.raise(Vector.GP, 0);
    return ListedWrite.FAULT;
  }
  vmx.owedByList = carryOut(vmx, index, lo, hi);
  return ListedWrite.DONE;
}

/** Makes the exit that a register of WRMSRLIST owes; RIP is past the instruction when that was the last. */
export function leaveList(vmx: Vmx, length: number, last: boolean): boolean {
  const reason = vmx.owedByList;
  if (reason < 0) return false;
  vmx.owedByList = -1;
  if (last) skip(vmx, length);
  exitGuest(vmx, reason);
  return true;
}
