import type { VirtualClock } from '@nestvm/bus';
import type { Vcpu } from '@nestvm/cpu';
import { parseCpu } from '@nestvm/isa/models';
import type { PhysicalMemory } from '@nestvm/memory';
import type { Mmu } from '@nestvm/mmu';
import { attachSvm, explainEntry as explainVmrun, lintVmcb, type Svm } from '@nestvm/svm';
import { attachVmx, explainEntry as explainVmEntry, lintCurrentVmcs, type VmxExtension } from '@nestvm/vmx';
import type { MachineConfig, MachineOptions } from './config.js';
import { MachineError } from './errors.js';

/** Turns the switch and the CPU's text into a configuration; throws `MachineError` (`nesting-off`, `bad-option`) and `CpuModelError`. */
export function resolveNesting({ cpu, nested = false, ...rest }: MachineOptions): MachineConfig {
  const vendor = typeof nested === 'object' ? nested.vendor : undefined;
  const model =
    typeof cpu === 'string'
      ? parseCpu(cpu, undefined, { nested: vendor === undefined ? nested !== false : { intel: vendor === 'intel', amd: vendor === 'amd' } })
      : cpu;
  const extension = model.has('vmx') ? 'vmx' : model.has('svm') ? 'svm' : undefined;
  if (extension !== undefined && nested === false)
    throw new MachineError(
      'nesting-off',
      `machine: the CPU '${model.name}' has ${extension}, but nested virtualization is off; create the machine with nested: true`,
    );
  if (extension !== undefined && vendor !== undefined && model.vendor !== vendor)
    throw new MachineError(
      'bad-option',
      `machine: nested is for ${vendor}, but the CPU '${model.name}' is of ${model.vendor}; choose one of the two`,
    );
  return { ...rest, cpu: model, nested: nested !== false };
}

/** Gives a vCPU the hypervisor extension that its model offers, if any; `vcpus` gives all of the machine. */
export function attachExtension(cpu: Vcpu, memory: PhysicalMemory, mmu: Mmu, clock: VirtualClock, vcpus: () => readonly Vcpu[]): void {
  if (cpu.model.has('vmx')) attachVmx(cpu, { memory, mmu, clock });
  if (cpu.model.has('svm')) attachSvm(cpu, { memory, mmu, vcpus });
}

/** What is wrong, or looks wrong, with the VMCS or VMCB that a vCPU would enter now. */
export function lintNested(cpu: Vcpu): readonly string[] {
  if (cpu.model.has('vmx')) return lintCurrentVmcs(cpu.virtualization as VmxExtension);
  if (!cpu.model.has('svm')) return ['this CPU has neither VMX nor SVM'];
  const svm = cpu.virtualization as Svm;
  const lines = svm.vmcbAddress === 0 ? lintVmcb(cpu) : lintVmcb(cpu, svm.vmcbAddress);
  return lines.length === 0 ? ['svm: the VMCB passes all checks, and nothing looks wrong'] : lines;
}

/** Why the VM entry that a vCPU tried last has failed, a line for each check; call it while the VMCS or VMCB is as it was. */
export function explainFailedEntry(cpu: Vcpu): readonly string[] {
  if (cpu.model.has('svm')) return explainVmrun(cpu);
  const lines: string[] = [];
  if (cpu.model.has('vmx')) explainVmEntry((cpu.virtualization as VmxExtension).entryContext, (line) => void lines.push(line));
  return lines;
}
