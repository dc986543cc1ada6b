/** Registers that CPUID returns, unsigned 32-bit each. */
export interface CpuidResult {
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

/** The run-time state that shows through CPUID. */
export interface CpuidState {
  /** Initial APIC id. */
  readonly apicId: number;
  /** IA32_APIC_BASE bit 11. */
  readonly apicEnabled: boolean;
  /** Low halves of CR4, XCR0 and IA32_XSS. */
  readonly cr4: number;
  readonly xcr0: number;
  readonly xss: number;
  /** IA32_MISC_ENABLE bit 22 (limit CPUID maximum to 2). */
  readonly limitMaximum: boolean;
}

/** The identity of a CPU: what CPUID answers, which features exist, and address widths. */
export interface CpuModel {
  readonly vendor: 'intel' | 'amd';
  /** MAXPHYADDR, in bits. */
  readonly physicalBits: number;
  /** True for a CPU that is no particular core: it offers what any core has (`max`, `host`). */
  readonly isEveryCore?: boolean;
  cpuid(leaf: number, subleaf: number, state: CpuidState): CpuidResult;
  /** True when the feature, by QEMU's name (`fsgsbase`, `sse2`), is offered. */
  has(feature: string): boolean;
  /** Value of a capability MSR (IA32_ARCH_CAPABILITIES), 0 when left out. */
  msr?(index: number): bigint;
}
