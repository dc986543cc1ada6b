/** The Intel cores that brought VMX features, oldest first; a model offers what its core and older ones have. */
export const generations = [
  'Penryn',
  'Nehalem',
  'Westmere',
  'IvyBridge',
  'Haswell',
  'Broadwell',
  'Skylake',
  'Icelake',
  'SapphireRapids',
  'newest',
] as const;
/** The name of a core generation. */
export type Generation = (typeof generations)[number];

/** What else is known of a control. */
export interface ControlFacts {
  /** The core that brought it; Penryn, the oldest here, when left out. */
  readonly since?: Generation;
  /** CPU feature, by QEMU's name, without which there is nothing to control; several, of which one is enough, with `|` between them. */
  readonly feature?: string;
  /** The bit was reserved and 1 when VMX was young: IA32_VMX_xxx_CTLS reports it as must-be-1, only the TRUE_ MSR says that it may be 0. */
  readonly default1?: true;
  /** Why this implementation never offers it. */
  readonly refused?: string;
}

/** One control: key, bit, the manual's name, facts. */
export type ControlRow = readonly [key: string, bit: number, title: string, facts?: ControlFacts];

/** CPU features without which a control has nothing to control, and which no CPU model here has; with what to call them. */
export const absentFeatures: Readonly<Record<string, string>> = {
  fred: 'FRED',
};

const NEEDS_PT = 'needs Intel PT, which this machine does not have';
const NEEDS_SGX = 'needs SGX, which this machine does not have';
const NEEDS_ARCH_LBR = 'needs architectural last-branch records, which this machine does not have';

/** Pin-based VM-execution controls (SDM Vol. 3, "Pin-Based VM-Execution Controls"). */
export const pinRows = [
  ['EXTERNAL_INTERRUPT_EXITING', 0, 'external-interrupt exiting'],
  ['NMI_EXITING', 3, 'NMI exiting'],
  ['VIRTUAL_NMIS', 5, 'virtual NMIs'],
  ['ACTIVATE_PREEMPTION_TIMER', 6, 'activate VMX-preemption timer', { since: 'Nehalem' }],
  ['PROCESS_POSTED_INTERRUPTS', 7, 'process posted interrupts', { since: 'IvyBridge' }],
] as const satisfies readonly ControlRow[];

/** Primary processor-based VM-execution controls (SDM Vol. 3, "Processor-Based VM-Execution Controls"). */
export const primaryRows = [
  ['INTERRUPT_WINDOW_EXITING', 2, 'interrupt-window exiting'],
  ['USE_TSC_OFFSETTING', 3, 'use TSC offsetting'],
  ['HLT_EXITING', 7, 'HLT exiting'],
  ['INVLPG_EXITING', 9, 'INVLPG exiting'],
  ['MWAIT_EXITING', 10, 'MWAIT exiting'],
  ['RDPMC_EXITING', 11, 'RDPMC exiting'],
  ['RDTSC_EXITING', 12, 'RDTSC exiting'],
  ['CR3_LOAD_EXITING', 15, 'CR3-load exiting', { default1: true }],
  ['CR3_STORE_EXITING', 16, 'CR3-store exiting', { default1: true }],
  ['ACTIVATE_TERTIARY_CONTROLS', 17, 'activate tertiary controls', { since: 'SapphireRapids' }],
  ['CR8_LOAD_EXITING', 19, 'CR8-load exiting'],
  ['CR8_STORE_EXITING', 20, 'CR8-store exiting'],
  ['USE_TPR_SHADOW', 21, 'use TPR shadow'],
  ['NMI_WINDOW_EXITING', 22, 'NMI-window exiting'],
  ['MOV_DR_EXITING', 23, 'MOV-DR exiting'],
  ['UNCONDITIONAL_IO_EXITING', 24, 'unconditional I/O exiting'],
  ['USE_IO_BITMAPS', 25, 'use I/O bitmaps'],
  ['MONITOR_TRAP_FLAG', 27, 'monitor trap flag', { since: 'Nehalem' }],
  ['USE_MSR_BITMAPS', 28, 'use MSR bitmaps'],
  ['MONITOR_EXITING', 29, 'MONITOR exiting'],
  ['PAUSE_EXITING', 30, 'PAUSE exiting'],
  ['ACTIVATE_SECONDARY_CONTROLS', 31, 'activate secondary controls'],
] as const satisfies readonly ControlRow[];

/** Secondary processor-based VM-execution controls. */
export const secondaryRows = [
  ['VIRTUALIZE_APIC_ACCESSES', 0, 'virtualize APIC accesses'],
  ['ENABLE_EPT', 1, 'enable EPT', { since: 'Nehalem' }],
  ['DESCRIPTOR_TABLE_EXITING', 2, 'descriptor-table exiting', { since: 'Nehalem' }],
  ['ENABLE_RDTSCP', 3, 'enable RDTSCP', { since: 'Nehalem', feature: 'rdtscp' }],
  ['VIRTUALIZE_X2APIC_MODE', 4, 'virtualize x2APIC mode', { since: 'Nehalem' }],
  ['ENABLE_VPID', 5, 'enable VPID', { since: 'Nehalem' }],
  ['WBINVD_EXITING', 6, 'WBINVD exiting'],
  ['UNRESTRICTED_GUEST', 7, 'unrestricted guest', { since: 'Westmere' }],
  ['APIC_REGISTER_VIRTUALIZATION', 8, 'APIC-register virtualization', { since: 'IvyBridge' }],
  ['VIRTUAL_INTERRUPT_DELIVERY', 9, 'virtual-interrupt delivery', { since: 'IvyBridge' }],
  ['PAUSE_LOOP_EXITING', 10, 'PAUSE-loop exiting', { since: 'Nehalem' }],
  ['RDRAND_EXITING', 11, 'RDRAND exiting', { since: 'IvyBridge', feature: 'rdrand' }],
  ['ENABLE_INVPCID', 12, 'enable INVPCID', { since: 'Haswell', feature: 'invpcid' }],
  ['ENABLE_VM_FUNCTIONS', 13, 'enable VM functions', { since: 'Haswell' }],
  ['VMCS_SHADOWING', 14, 'VMCS shadowing', { since: 'Haswell' }],
  ['ENCLS_EXITING', 15, 'enable ENCLS exiting', { since: 'Skylake', feature: 'sgx', refused: NEEDS_SGX }],
  ['RDSEED_EXITING', 16, 'RDSEED exiting', { since: 'Broadwell', feature: 'rdseed' }],
  ['ENABLE_PML', 17, 'enable PML', { since: 'Broadwell' }],
  ['EPT_VIOLATION_VE', 18, 'EPT-violation #VE', { since: 'Broadwell' }],
  ['CONCEAL_VMX_FROM_PT', 19, 'conceal VMX from PT', { since: 'Skylake', feature: 'intel-pt', refused: NEEDS_PT }],
  ['ENABLE_XSAVES', 20, 'enable XSAVES/XRSTORS', { since: 'Skylake', feature: 'xsaves' }],
  ['PASID_TRANSLATION', 21, 'PASID translation', { since: 'SapphireRapids', refused: 'needs ENQCMD and PASIDs, which this machine does not have' }],
  ['MODE_BASED_EXECUTE_CONTROL', 22, 'mode-based execute control for EPT', { since: 'Skylake' }],
  ['SUB_PAGE_WRITE_PERMISSIONS', 23, 'sub-page write permissions for EPT', { since: 'Icelake' }],
  ['PT_USES_GUEST_PHYSICAL', 24, 'Intel PT uses guest physical addresses', { since: 'Icelake', feature: 'intel-pt', refused: NEEDS_PT }],
  ['USE_TSC_SCALING', 25, 'use TSC scaling', { since: 'Skylake' }],
  ['ENABLE_USER_WAIT', 26, 'enable user wait and pause', { since: 'Icelake', feature: 'waitpkg' }],
  ['ENABLE_PCONFIG', 27, 'enable PCONFIG', { since: 'Icelake', refused: 'needs PCONFIG (memory encryption), which this machine does not have' }],
  ['ENCLV_EXITING', 28, 'enable ENCLV exiting', { since: 'Icelake', refused: NEEDS_SGX }],
  [
    'BUS_LOCK_DETECTION',
    30,
    'VMM bus-lock detection',
    { since: 'SapphireRapids', refused: 'needs the detection of bus locks: locked accesses across cache lines cost nothing special here' },
  ],
  [
    'INSTRUCTION_TIMEOUT',
    31,
    'instruction timeout',
    { since: 'SapphireRapids', refused: 'needs instruction windows that end after a time; nothing holds an instruction up here' },
  ],
] as const satisfies readonly ControlRow[];

/** Tertiary processor-based VM-execution controls; all known bits are in the low half. */
export const tertiaryRows = [
  ['LOADIWKEY_EXITING', 0, 'LOADIWKEY exiting', { since: 'SapphireRapids', refused: 'needs Key Locker, which this machine does not have' }],
  ['ENABLE_HLAT', 1, 'enable HLAT', { since: 'SapphireRapids' }],
  ['EPT_PAGING_WRITE_CONTROL', 2, 'EPT paging-write control', { since: 'SapphireRapids' }],
  ['GUEST_PAGING_VERIFICATION', 3, 'guest-paging verification', { since: 'SapphireRapids' }],
  ['IPI_VIRTUALIZATION', 4, 'IPI virtualization', { since: 'SapphireRapids' }],
  ['ENABLE_MSRLIST', 6, 'enable MSR-list instructions', { since: 'newest', feature: 'msrlist' }],
  ['VIRTUALIZE_SPEC_CTRL', 7, 'virtualize IA32_SPEC_CTRL', { since: 'SapphireRapids', feature: 'spec-ctrl' }],
  ['APIC_TIMER_VIRTUALIZATION', 8, 'APIC-timer virtualization', { since: 'newest', feature: 'tsc-deadline' }],
] as const satisfies readonly ControlRow[];

/** Primary VM-exit controls (SDM Vol. 3, "VM-Exit Controls"). */
export const exitRows = [
  ['SAVE_DEBUG_CONTROLS', 2, 'save debug controls', { default1: true }],
  ['HOST_ADDRESS_SPACE_SIZE', 9, 'host address-space size'],
  ['LOAD_PERF_GLOBAL_CTRL', 12, 'load IA32_PERF_GLOBAL_CTRL', { since: 'Nehalem', feature: 'pmu' }],
  ['ACKNOWLEDGE_INTERRUPT', 15, 'acknowledge interrupt on exit'],
  ['SAVE_PAT', 18, 'save IA32_PAT', { since: 'Nehalem' }],
  ['LOAD_PAT', 19, 'load IA32_PAT', { since: 'Nehalem' }],
  ['SAVE_EFER', 20, 'save IA32_EFER', { since: 'Nehalem' }],
  ['LOAD_EFER', 21, 'load IA32_EFER', { since: 'Nehalem' }],
  ['SAVE_PREEMPTION_TIMER', 22, 'save VMX-preemption timer value', { since: 'Nehalem' }],
  ['CLEAR_BNDCFGS', 23, 'clear IA32_BNDCFGS', { since: 'Skylake', feature: 'mpx' }],
  ['CONCEAL_VMX_FROM_PT', 24, 'conceal VMX from PT', { since: 'Skylake', feature: 'intel-pt', refused: NEEDS_PT }],
  ['CLEAR_RTIT_CTL', 25, 'clear IA32_RTIT_CTL', { since: 'Icelake', feature: 'intel-pt', refused: NEEDS_PT }],
  ['CLEAR_LBR_CTL', 26, 'clear IA32_LBR_CTL', { since: 'SapphireRapids', feature: 'arch-lbr', refused: NEEDS_ARCH_LBR }],
  ['CLEAR_UINV', 27, 'clear UINV', { since: 'SapphireRapids', feature: 'uintr' }],
  ['LOAD_CET', 28, 'load CET state', { since: 'Icelake', feature: 'cet-ss|cet-ibt' }],
  ['LOAD_PKRS', 29, 'load PKRS', { since: 'SapphireRapids', feature: 'pks' }],
  ['SAVE_PERF_GLOBAL_CTRL', 30, 'save IA32_PERF_GLOBAL_CTRL', { since: 'SapphireRapids', feature: 'pmu' }],
  ['ACTIVATE_SECONDARY_CONTROLS', 31, 'activate secondary controls', { since: 'SapphireRapids' }],
] as const satisfies readonly ControlRow[];

/** Secondary VM-exit controls; all known bits are in the low half. */
export const secondaryExitRows = [
  ['SAVE_FRED', 0, 'save IA32_FRED', { since: 'newest', feature: 'fred' }],
  ['LOAD_FRED', 1, 'load IA32_FRED', { since: 'newest', feature: 'fred' }],
  ['LOAD_SPEC_CTRL', 2, 'load IA32_SPEC_CTRL', { since: 'SapphireRapids', feature: 'spec-ctrl' }],
  ['PREMATURELY_BUSY_SHADOW_STACK', 3, 'prematurely busy shadow stack', { since: 'SapphireRapids', feature: 'cet-ss' }],
] as const satisfies readonly ControlRow[];

/** VM-entry controls (SDM Vol. 3, "VM-Entry Controls"). */
export const entryRows = [
  ['LOAD_DEBUG_CONTROLS', 2, 'load debug controls', { default1: true }],
  ['IA32E_MODE_GUEST', 9, 'IA-32e mode guest'],
  ['ENTRY_TO_SMM', 10, 'entry to SMM', { refused: 'out of scope: dual-monitor treatment of SMM' }],
  ['DEACTIVATE_DUAL_MONITOR', 11, 'deactivate dual-monitor treatment', { refused: 'out of scope: dual-monitor treatment of SMM' }],
  ['LOAD_PERF_GLOBAL_CTRL', 13, 'load IA32_PERF_GLOBAL_CTRL', { since: 'Nehalem', feature: 'pmu' }],
  ['LOAD_PAT', 14, 'load IA32_PAT', { since: 'Nehalem' }],
  ['LOAD_EFER', 15, 'load IA32_EFER', { since: 'Nehalem' }],
  ['LOAD_BNDCFGS', 16, 'load IA32_BNDCFGS', { since: 'Skylake', feature: 'mpx' }],
  ['CONCEAL_VMX_FROM_PT', 17, 'conceal VMX from PT', { since: 'Skylake', feature: 'intel-pt', refused: NEEDS_PT }],
  ['LOAD_RTIT_CTL', 18, 'load IA32_RTIT_CTL', { since: 'Icelake', feature: 'intel-pt', refused: NEEDS_PT }],
  ['LOAD_UINV', 19, 'load UINV', { since: 'SapphireRapids', feature: 'uintr' }],
  ['LOAD_CET', 20, 'load CET state', { since: 'Icelake', feature: 'cet-ss|cet-ibt' }],
  ['LOAD_LBR_CTL', 21, 'load guest IA32_LBR_CTL', { since: 'SapphireRapids', feature: 'arch-lbr', refused: NEEDS_ARCH_LBR }],
  ['LOAD_PKRS', 22, 'load PKRS', { since: 'SapphireRapids', feature: 'pks' }],
  ['LOAD_FRED', 23, 'load IA32_FRED', { since: 'newest', feature: 'fred' }],
  ['LOAD_SPEC_CTRL', 24, 'load IA32_SPEC_CTRL', { since: 'SapphireRapids', feature: 'spec-ctrl' }],
] as const satisfies readonly ControlRow[];

/** VM-function controls; all known bits are in the low half. */
export const vmFunctionRows = [['EPTP_SWITCHING', 0, 'EPTP switching', { since: 'Haswell' }]] as const satisfies readonly ControlRow[];
