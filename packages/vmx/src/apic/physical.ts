import type { Vcpu } from '@nestvm/cpu';

const APIC_BASE = 0x1b;
const X2APIC = 1 << 10;
const X2APIC_EOI = 0x80b;
const EOI = 0xb0;

/** Writes zero to the EOI register of the processor's own local APIC, in the mode that it is in. */
export function endPhysicalInterrupt(cpu: Vcpu): void {
  const { interrupts } = cpu;
  if (!interrupts.readMsr(APIC_BASE)) return;
  if ((interrupts.msrLo & X2APIC) !== 0) {
    interrupts.msrLo = 0;
    interrupts.msrHi = 0;
    interrupts.writeMsr(X2APIC_EOI);
    return;
  }
  const base = (interrupts.msrHi & 0xfffff) * 4294967296 + ((interrupts.msrLo & ~0xfff) >>> 0);
  cpu.memory.write32(base + EOI, 0);
}
