/** A CPUID output register. */
export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';

/** One named CPUID bit: name, leaf, subleaf, register, bit number. */
export type CpuidFeatureRow = readonly [name: string, leaf: number, subleaf: number, register: CpuidRegister, bit: number];

/** One named bit of a capability MSR: name, MSR index, bit number. */
export type MsrFeatureRow = readonly [name: string, msr: number, bit: number];

/** A CPU model's facts; `features` is a list of names, or a difference (`plus`, `minus`) from the model `from`. */
export interface ModelRow {
  readonly name: string;
  readonly vendor: 'GenuineIntel' | 'AuthenticAMD' | 'HygonGenuine' | 'CentaurHauls';
  /** As printed: extended family added in. */
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** Highest basic leaf. */
  readonly level: number;
  /** Highest extended leaf. */
  readonly xlevel: number;
  /** Brand string, at most 48 characters. */
  readonly id: string;
  readonly features?: string;
  readonly from?: string;
  readonly plus?: string;
  readonly minus?: string;
}
