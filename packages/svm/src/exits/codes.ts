/** Exit codes that are not simply an intercept bit (APM Vol. 2, "SVM Intercept Exit Codes"). */
export const ExitCode = {
  CR0_READ: 0x00,
  CR0_WRITE: 0x10,
  DR0_READ: 0x20,
  DR0_WRITE: 0x30,
  EXCEPTION: 0x40,
  INTR: 0x60,
  NMI: 0x61,
  SMI: 0x62,
  INIT: 0x63,
  VINTR: 0x64,
  CR0_SEL_WRITE: 0x65,
  IDTR_READ: 0x66,
  GDTR_READ: 0x67,
  LDTR_READ: 0x68,
  TR_READ: 0x69,
  IDTR_WRITE: 0x6a,
  GDTR_WRITE: 0x6b,
  LDTR_WRITE: 0x6c,
  TR_WRITE: 0x6d,
  RDTSC: 0x6e,
  RDPMC: 0x6f,
  PUSHF: 0x70,
  POPF: 0x71,
  CPUID: 0x72,
  RSM: 0x73,
  IRET: 0x74,
  SWINT: 0x75,
  INVD: 0x76,
  PAUSE: 0x77,
  HLT: 0x78,
  INVLPG: 0x79,
  INVLPGA: 0x7a,
  IOIO: 0x7b,
  MSR: 0x7c,
  TASK_SWITCH: 0x7d,
  FERR_FREEZE: 0x7e,
  SHUTDOWN: 0x7f,
  VMRUN: 0x80,
  VMMCALL: 0x81,
  VMLOAD: 0x82,
  VMSAVE: 0x83,
  STGI: 0x84,
  CLGI: 0x85,
  SKINIT: 0x86,
  RDTSCP: 0x87,
  ICEBP: 0x88,
  WBINVD: 0x89,
  MONITOR: 0x8a,
  MWAIT: 0x8b,
  MWAIT_CONDITIONAL: 0x8c,
  XSETBV: 0x8d,
  RDPRU: 0x8e,
  EFER_WRITE_TRAP: 0x8f,
  CR0_WRITE_TRAP: 0x90,
  INVLPGB: 0xa0,
  INVLPGB_ILLEGAL: 0xa1,
  INVPCID: 0xa2,
  MCOMMIT: 0xa3,
  TLBSYNC: 0xa4,
  IDLE_HLT: 0xa6,
  NPF: 0x400,
  AVIC_INCOMPLETE_IPI: 0x401,
  AVIC_NOACCEL: 0x402,
  INVALID: -1,
} as const;

const EXCEPTIONS = 'DE DB NMI BP OF BR UD NM DF 9 TS NP SS GP PF 15 MF AC MC XF 20 CP 22 23 24 25 26 27 HV VC SX 31'.split(' ');
const NAMES = new Map(Object.entries(ExitCode).map(([name, code]) => [code as number, name]));
const RANGES: readonly (readonly [first: number, count: number, name: (n: number) => string])[] = [
  [ExitCode.CR0_READ, 16, (n) => `CR${n}_READ`],
  [ExitCode.CR0_WRITE, 16, (n) => `CR${n}_WRITE`],
  [ExitCode.DR0_READ, 16, (n) => `DR${n}_READ`],
  [ExitCode.DR0_WRITE, 16, (n) => `DR${n}_WRITE`],
  [ExitCode.EXCEPTION, 32, (n) => `EXCEPTION_${EXCEPTIONS[n]!}`],
  [ExitCode.CR0_WRITE_TRAP, 16, (n) => `CR${n}_WRITE_TRAP`],
];

/** Index of an exit code in the exit counters: codes below A8h are themselves, the others follow. */
export function exitIndex(code: number): number {
  if (code >= 0 && code < 0xa8) return code;
  return code >= ExitCode.NPF && code <= ExitCode.AVIC_NOACCEL ? 0xa8 + code - ExitCode.NPF : 0xab;
}

/** How many indices `exitIndex` has. */
export const EXIT_INDICES = 0xac;

/** Name of an exit code, without the manual's `VMEXIT_`. */
export function exitCodeName(code: number): string {
  for (const [first, count, name] of RANGES) if (code >= first && code < first + count) return name(code - first);
  return NAMES.get(code) ?? `0x${(code >>> 0).toString(16)}`;
}

/** Name of an index of the exit counters. */
export function exitIndexName(index: number): string {
  if (index < 0xa8) return exitCodeName(index);
  return exitCodeName(index === 0xab ? ExitCode.INVALID : ExitCode.NPF + index - 0xa8);
}
