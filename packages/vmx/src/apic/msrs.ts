import { deliverFault, GPR } from '@nestvm/cpu/extension';
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

/** RDMSR of an x2APIC register in virtualized x2APIC mode; false: the MSR is read as usual. */
export function readApicMsr(vmx: Vmx, index: number, length: number): boolean {
  const { apic, controls, cpu, memory } = vmx;
  if (!inRange(index) || !controls.hasProc2(Proc2.VIRTUALIZE_X2APIC_MODE)) return false;
  if (index !== TPR && !controls.hasProc2(Proc2.APIC_REGISTER_VIRTUALIZATION)) return false;
  const at = apic.page + ((index & 0xff) << 4);
  const { w } = cpu;
  w[RAX] = memory.read32(at);
  w[RAX + 1] = 0;
  w[RDX] = memory.read32(at + 4);
  w[RDX + 1] = 0;
  skip(vmx, length);
  cpu.attention = 1;
  return true;
}

/** WRMSR of the interrupt command under IPI virtualization; what cannot be virtualized exits behind the instruction. */
function writeCommand(vmx: Vmx, lo: number, hi: number, length: number): true {
  const { apic, cpu } = vmx;
  if ((lo & ICR_RESERVED) !== 0) return protection(vmx);
  apic.write(ApicRegister.ICR_LOW, lo);
  apic.write(ApicRegister.ICR_LOW + 4, hi);
  skip(vmx, length);
  cpu.attention = 1;
  if (!apic.post(lo, hi)) exitGuest(vmx, apic.unaccelerated(ApicRegister.ICR_LOW));
  return true;
}

/** WRMSR, likewise: TPR, under virtual-interrupt delivery EOI and self-IPI, under IPI virtualization the interrupt command. */
export function writeApicMsr(vmx: Vmx, index: number, length: number): boolean {
  const { apic, controls, cpu } = vmx;
  if (!inRange(index) || !controls.hasProc2(Proc2.VIRTUALIZE_X2APIC_MODE)) return false;
  const lo = cpu.w[RAX]!;
  const hi = cpu.w[RDX]!;
  if (index === ICR && apic.sends) return writeCommand(vmx, lo, hi, length);
  if (index === TPR) {
    if (hi !== 0 || (lo & ~0xff) !== 0) return protection(vmx);
    apic.write(ApicRegister.TPR, lo);
    skip(vmx, length);
    apic.tprChanged();
  } else if (!apic.delivers || (index !== EOI && index !== SELF_IPI)) return false;
  else if (index === EOI) {
    if ((hi | lo) !== 0) return protection(vmx);
    skip(vmx, length);
    // The exit for an EOI is trap-like: RIP is past the instruction already.
    const reason = apic.endOfInterrupt();
    if (reason >= 0) {
      exitGuest(vmx, reason);
      return true;
    }
  } else {
    if (hi !== 0 || (lo & ~0xff) !== 0) return protection(vmx);
    skip(vmx, length);
    apic.write(ApicRegister.SELF_IPI, lo);
    if ((lo & 0xf0) !== 0) apic.request(lo);
    else apic.written = ApicRegister.SELF_IPI;
  }
  cpu.attention = 1;
  return true;
}
