import type { ControlRow, Generation } from '../controls/table.js';

/** Bits of IA32_VMX_EPT_VPID_CAP (SDM Vol. 3, "VPID and EPT Capabilities"); bits from 32 on are of the high half. */
export const eptVpidRows = [
  ['EXECUTE_ONLY', 0, 'execute-only translations', { since: 'Nehalem' }],
  ['WALK_4', 6, 'page-walk length of 4', { since: 'Nehalem' }],
  ['WALK_5', 7, 'page-walk length of 5', { since: 'Icelake' }],
  ['TYPE_UC', 8, 'EPT paging structures of type UC', { since: 'Nehalem' }],
  ['TYPE_WB', 14, 'EPT paging structures of type WB', { since: 'Nehalem' }],
  ['PAGES_2M', 16, '2-MByte pages', { since: 'Nehalem' }],
  ['PAGES_1G', 17, '1-GByte pages', { since: 'Westmere' }],
  ['INVEPT', 20, 'INVEPT', { since: 'Nehalem' }],
  ['ACCESSED_DIRTY', 21, 'accessed and dirty flags for EPT', { since: 'Haswell' }],
  ['ADVANCED_EXIT_INFORMATION', 22, 'advanced VM-exit information for EPT violations', { since: 'Skylake' }],
  ['SUPERVISOR_SHADOW_STACK', 23, 'supervisor shadow-stack control', { since: 'Icelake', feature: 'cet-ss' }],
  ['INVEPT_SINGLE', 25, 'single-context INVEPT', { since: 'Nehalem' }],
  ['INVEPT_ALL', 26, 'all-context INVEPT', { since: 'Nehalem' }],
  ['INVVPID', 32, 'INVVPID', { since: 'Nehalem' }],
  ['INVVPID_ADDRESS', 40, 'individual-address INVVPID', { since: 'Nehalem' }],
  ['INVVPID_SINGLE', 41, 'single-context INVVPID', { since: 'Nehalem' }],
  ['INVVPID_ALL', 42, 'all-context INVVPID', { since: 'Nehalem' }],
  ['INVVPID_SINGLE_RETAINING_GLOBALS', 43, 'single-context-retaining-globals INVVPID', { since: 'Nehalem' }],
] as const satisfies readonly ControlRow[];

/** Bits of IA32_VMX_MISC that say yes or no (SDM Vol. 3, "Miscellaneous Data"). */
export const miscRows = [
  ['STORE_LMA', 5, 'VM exits store IA32_EFER.LMA into the IA-32e mode guest control', { since: 'Nehalem' }],
  ['ACTIVITY_HLT', 6, 'activity state HLT'],
  ['ACTIVITY_SHUTDOWN', 7, 'activity state shutdown'],
  ['ACTIVITY_WAIT_FOR_SIPI', 8, 'activity state wait-for-SIPI'],
  ['INTEL_PT', 14, 'Intel PT in VMX operation', { refused: 'needs Intel PT, which this machine does not have' }],
  ['SMBASE_MSR', 15, 'RDMSR of IA32_SMBASE in SMM', { refused: 'out of scope: dual-monitor treatment of SMM' }],
  ['VMXOFF_BLOCK_SMI', 28, 'VMXOFF blocking SMIs', { refused: 'out of scope: dual-monitor treatment of SMM' }],
  ['VMWRITE_READ_ONLY', 29, 'VMWRITE to every field, read-only ones too', { since: 'Haswell' }],
  ['ZERO_LENGTH_INJECTION', 30, 'injection of software events with instruction length 0', { since: 'Skylake' }],
] as const satisfies readonly ControlRow[];

/** Values in IA32_VMX_MISC. */
export const MISC = {
  /** The VMX-preemption timer counts down at TSC / 2^5. */
  TIMER_SHIFT: 5,
  CR3_TARGETS: 4,
  /** (n + 1) × 512 MSRs are recommended at most in a list. */
  MSR_LIST_CODE: 0,
} as const;

/** The VMCS revision identifier: our own layout, so our own number. Change it with the layout of the region. */
export const VMCS_REVISION = 0x4e56_0001;

/** DisplayFamily 6 models by core (SDM Vol. 4, "Model-Specific Registers"; CPUID leaf 1). Models that are not here count as the newest. */
export const coreModels: Readonly<Partial<Record<Generation, readonly number[]>>> = {
  Penryn: [0x0f, 0x16, 0x17, 0x1d],
  Nehalem: [0x1a, 0x1e, 0x1f, 0x2e],
  Westmere: [0x25, 0x2c, 0x2f, 0x2a, 0x2d],
  IvyBridge: [0x3a, 0x3e],
  Haswell: [0x3c, 0x3f, 0x45, 0x46],
  Broadwell: [0x3d, 0x47, 0x4f, 0x56],
  Skylake: [0x4e, 0x5e, 0x55, 0x5f, 0x8e, 0x9e, 0xa5, 0xa6],
  Icelake: [0x7e, 0x7d, 0x6a, 0x6c, 0x86, 0x8c, 0x8d],
  SapphireRapids: [0x8f, 0xcf, 0xad, 0xae, 0xaf, 0xb6],
};

/** IA32_SPEC_CTRL bits by the CPU feature that brings them (SDM Vol. 4). */
export const specCtrlFeatures: readonly (readonly [feature: string, bits: number])[] = [
  ['spec-ctrl', 1],
  ['stibp', 2],
  ['ssbd', 4],
  ['ipred-ctrl', 0x18],
  ['rrsba-ctrl', 0x60],
  ['psfd', 0x80],
  ['bhi-ctrl', 0x400],
];
