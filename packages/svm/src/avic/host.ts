import type { Vcpu } from '@nestvm/cpu';
import type { PhysicalMemory } from '@nestvm/memory';
import type { GuestSpace } from '@nestvm/mmu';
import type { SvmFeatures } from '../features.js';

/** What the sending of IPIs asks of the virtual interrupt controller. */
interface AvicRegisters {
  readonly x2: boolean;
  read(register: number): number;
  mark(page: number, base: number, vector: number, on: boolean): void;
  request(vector: number): void;
  ask(code: number, info1Lo: number, info1Hi: number, info2Lo: number, info2Hi: number): boolean;
}

/** What the virtual interrupt controller works on: the context of SVM has this shape. */
export interface AvicHost {
  readonly cpu: Vcpu;
  readonly memory: PhysicalMemory;
  readonly features: SvmFeatures;
  /** The arena in words, and the first word of the VMCB in force. */
  readonly i32: Int32Array;
  readonly vmcb: number;
  readonly space: GuestSpace;
  readonly avic: AvicRegisters;
  /** All vCPUs of the machine, for doorbells. */
  readonly vcpus: () => readonly Vcpu[];
}
