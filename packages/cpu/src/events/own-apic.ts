import type { Vcpu } from '../vcpu.js';

const APIC_BASE = 0x1b;
const X2APIC = 1 << 10;
const X2APIC_EOI = 0x80b;
const X2APIC_ICR = 0x830;
const EOI = 0xb0;
const ICR_LOW = 0x300;
const ICR_HIGH = 0x310;

/** Writes a register of the processor's own local APIC as an MSR, when it is in x2APIC mode; false when it is not. `msrLo` and `msrHi` hold IA32_APIC_BASE. */
function writeX2apic({ interrupts }: Vcpu, index: number, lo: number, hi: number): boolean {
  if ((interrupts.msrLo & X2APIC) === 0) return false;
  interrupts.msrLo = lo;
  interrupts.msrHi = hi;
  interrupts.writeMsr(index);
  return true;
}

const baseOf = ({ interrupts }: Vcpu): number => (interrupts.msrHi & 0xfffff) * 4294967296 + ((interrupts.msrLo & ~0xfff) >>> 0);

/** Writes zero to the EOI register of the processor's own local APIC, in the mode that it is in. */
export function endPhysicalInterrupt(cpu: Vcpu): void {
  if (!cpu.interrupts.readMsr(APIC_BASE) || writeX2apic(cpu, X2APIC_EOI, 0, 0)) return;
  cpu.memory.write32(baseOf(cpu) + EOI, 0);
}

/** Sends a fixed IPI as the processor's own local APIC would: `destination` in the format of NDST, bits 15:8 in xAPIC mode. */
export function sendPhysicalIpi(cpu: Vcpu, vector: number, destination: number): void {
  if (!cpu.interrupts.readMsr(APIC_BASE) || writeX2apic(cpu, X2APIC_ICR, vector, destination | 0)) return;
  const base = baseOf(cpu);
  cpu.memory.write32(base + ICR_HIGH, (((destination >>> 8) & 0xff) << 24) >>> 0);
  cpu.memory.write32(base + ICR_LOW, vector);
}
