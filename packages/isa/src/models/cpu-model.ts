import type { CpuFeature } from './features.js';

/** How many vCPUs share what: sockets × cores × threads; threads are numbered first. */
export interface CpuTopology {
  readonly sockets: number;
  readonly cores: number;
  readonly threads: number;
}

/** Identification of a CPU, as a model or the user gives it. */
export interface CpuIdentity {
  readonly name: string;
  /** The twelve letters of leaf 0. */
  readonly vendorId: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  readonly level: number;
  readonly xlevel: number;
  /** Brand string of leaves 0x80000002-4, at most 48 characters. */
  readonly modelId: string;
}

/** Registers that CPUID returns, unsigned 32-bit each. */
export interface CpuidRegisters {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** The run-time state that shows through CPUID; numbers are low halves, unsigned or int32. */
export interface CpuidDynamicState {
  readonly apicId: number;
  readonly apicEnabled: boolean;
  readonly cr4: number;
  readonly xcr0: number;
  readonly xss: number;
  readonly limitMaximum: boolean;
}

/** What a CPU announces: identity, features, address widths, topology. Pure data; `cpuidLeaf` turns it into CPUID answers. */
export interface CpuDescription extends CpuIdentity {
  readonly features: ReadonlySet<CpuFeature>;
  /** MAXPHYADDR in bits. */
  readonly physicalBits: number;
  readonly topology: CpuTopology;
  /** Frequency of the TSC in Hz, for leaves 15h and 16h. */
  readonly tscHz: number;
}
