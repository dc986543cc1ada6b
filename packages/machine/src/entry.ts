import type { BootWrite, CpuEntry } from '@nestvm/boot';
import { updateMode, type Vcpu } from '@nestvm/cpu';
import { Gpr, Segment, vcpuState } from '@nestvm/isa';
import type { PhysicalMemory } from '@nestvm/memory';

const ZEROS = new Uint8Array(65536);

/** Puts what a plan brings into guest memory. */
export function applyWrites(writes: readonly BootWrite[], memory: PhysicalMemory): void {
  for (const { address, bytes, size } of writes) {
    memory.write(address, bytes);
    for (let at = bytes.length; at < (size ?? 0); at += ZEROS.length)
      memory.write(address + at, ZEROS.subarray(0, Math.min(ZEROS.length, size! - at)));
  }
}

/** Puts a freshly reset vCPU into the state that a plan asks for. */
export function enterPlan(cpu: Vcpu, entry: CpuEntry): void {
  for (const [name, value] of Object.entries(entry.segments)) {
    const segment = Segment[name.toUpperCase() as keyof typeof Segment];
    cpu.h[vcpuState.offset.segSelector / 2 + segment] = value.selector;
    cpu.set64('segBase', BigInt(value.base), segment);
    cpu.set32('segLimit', value.limit, segment);
    cpu.set32('segAttributes', value.attributes, segment);
  }
  for (const [name, value] of Object.entries(entry.registers)) cpu.setGpr(Gpr[name.toUpperCase() as keyof typeof Gpr], BigInt(value));
  cpu.set64('gdtrBase', BigInt(entry.gdt.base));
  cpu.set32('gdtrLimit', entry.gdt.limit);
  cpu.set64('idtrBase', BigInt(entry.idt.base));
  cpu.set32('idtrLimit', entry.idt.limit);
  cpu.set64('cr0', BigInt(entry.cr0));
  cpu.set64('cr3', BigInt(entry.cr3));
  cpu.set64('cr4', BigInt(entry.cr4));
  cpu.set64('efer', BigInt(entry.efer));
  cpu.set32('cpl', 0);
  cpu.writeRflags(2);
  cpu.rip = BigInt(entry.rip);
  updateMode(cpu);
}
