import type { NestedFeature } from '@nestvm/cpu';
import { eptVpidRows, miscRows } from './capabilities/tables.js';
import type { ControlGroup } from './controls/controls.js';
import { controlGroups } from './controls/controls.js';
import type { ControlFacts, ControlRow } from './controls/table.js';
import { absentFeatures } from './controls/table.js';

/** Tests by what they show; the reference page names them. */
const TEST = {
  exits: 'packages/vmx/test/exits.test.ts',
  behaviour: 'packages/vmx/test/behaviour.test.ts',
  more: 'packages/vmx/test/more-behaviour.test.ts',
  virtual: 'packages/vmx/test/virtual-apic.test.ts',
  instructions: 'packages/vmx/test/instructions.test.ts',
  checks: 'packages/vmx/test/checks.test.ts',
  capabilities: 'packages/vmx/src/capabilities/capabilities.test.ts',
  apic: 'packages/vmx/test/apic.test.ts',
  events: 'packages/vmx/test/events.test.ts',
  memory: 'packages/vmx/test/memory-controls.test.ts',
  features: 'packages/vmx/test/cpu-features.test.ts',
  cet: 'packages/vmx/test/cet.test.ts',
  mpx: 'packages/vmx/test/mpx.test.ts',
  guests: 'packages/guests/test/guests.test.ts',
  ept: 'packages/mmu/test/nested.property.test.ts',
  tags: 'packages/mmu/test/nested-invalidation.test.ts',
} as const;
type Test = keyof typeof TEST;

/** Controls by the test that sets them and looks at what follows. Every other control is exercised, if at all, by real hypervisors only. */
const TESTED: Readonly<Record<string, Test>> = Object.fromEntries(
  (
    [
      [
        'exits',
        'proc1.HLT_EXITING proc1.INVLPG_EXITING proc1.MWAIT_EXITING proc1.RDPMC_EXITING proc1.RDTSC_EXITING proc1.CR3_LOAD_EXITING proc1.CR3_STORE_EXITING ' +
          'proc1.CR8_LOAD_EXITING proc1.CR8_STORE_EXITING proc1.MOV_DR_EXITING proc1.UNCONDITIONAL_IO_EXITING proc1.USE_IO_BITMAPS proc1.USE_MSR_BITMAPS ' +
          'proc1.MONITOR_EXITING proc1.PAUSE_EXITING proc1.MONITOR_TRAP_FLAG proc1.INTERRUPT_WINDOW_EXITING proc1.NMI_WINDOW_EXITING proc1.ACTIVATE_SECONDARY_CONTROLS ' +
          'pin.ACTIVATE_PREEMPTION_TIMER pin.VIRTUAL_NMIS proc2.DESCRIPTOR_TABLE_EXITING proc2.WBINVD_EXITING proc2.PAUSE_LOOP_EXITING ' +
          'proc2.RDRAND_EXITING proc2.RDSEED_EXITING proc2.ENABLE_VM_FUNCTIONS',
      ],
      [
        'behaviour',
        'vmfunc.EPTP_SWITCHING proc1.USE_TPR_SHADOW proc1.USE_TSC_OFFSETTING proc2.USE_TSC_SCALING proc2.VMCS_SHADOWING proc2.VIRTUALIZE_APIC_ACCESSES ' +
          'proc2.VIRTUALIZE_X2APIC_MODE proc2.VIRTUAL_INTERRUPT_DELIVERY proc2.UNRESTRICTED_GUEST',
      ],
      ['apic', 'pin.PROCESS_POSTED_INTERRUPTS proc2.APIC_REGISTER_VIRTUALIZATION'],
      ['virtual', 'proc3.IPI_VIRTUALIZATION'],
      ['more', 'proc2.ENABLE_VPID proc3.VIRTUALIZE_SPEC_CTRL'],
      [
        'events',
        'pin.EXTERNAL_INTERRUPT_EXITING pin.NMI_EXITING proc2.ENABLE_RDTSCP proc2.ENABLE_INVPCID proc2.ENABLE_XSAVES exit.SAVE_DEBUG_CONTROLS ' +
          'exit.ACKNOWLEDGE_INTERRUPT exit.SAVE_PAT exit.LOAD_PAT exit.SAVE_EFER exit.LOAD_EFER exit.SAVE_PREEMPTION_TIMER exit.ACTIVATE_SECONDARY_CONTROLS ' +
          'exit2.LOAD_SPEC_CTRL entry.LOAD_DEBUG_CONTROLS entry.LOAD_PAT entry.LOAD_EFER entry.LOAD_SPEC_CTRL',
      ],
      [
        'memory',
        'proc1.ACTIVATE_TERTIARY_CONTROLS proc2.ENABLE_PML proc2.EPT_VIOLATION_VE proc2.MODE_BASED_EXECUTE_CONTROL proc2.SUB_PAGE_WRITE_PERMISSIONS ' +
          'proc3.ENABLE_HLAT proc3.EPT_PAGING_WRITE_CONTROL proc3.GUEST_PAGING_VERIFICATION',
      ],
      [
        'features',
        'proc3.APIC_TIMER_VIRTUALIZATION exit.CLEAR_UINV entry.LOAD_UINV proc3.ENABLE_MSRLIST proc2.ENABLE_USER_WAIT exit.LOAD_PKRS entry.LOAD_PKRS exit.LOAD_PERF_GLOBAL_CTRL exit.SAVE_PERF_GLOBAL_CTRL entry.LOAD_PERF_GLOBAL_CTRL',
      ],
      ['mpx', 'exit.CLEAR_BNDCFGS entry.LOAD_BNDCFGS'],
      ['cet', 'exit.LOAD_CET exit2.PREMATURELY_BUSY_SHADOW_STACK entry.LOAD_CET'],
      ['guests', 'proc2.ENABLE_EPT exit.HOST_ADDRESS_SPACE_SIZE entry.IA32E_MODE_GUEST'],
    ] as const
  ).flatMap(([test, names]) => names.split(' ').map((name): [string, Test] => [name, test])),
);

/** A feature that works: Y with its test, P without one. */
const works = (group: string, name: string, test?: Test): NestedFeature =>
  test === undefined
    ? { group, name, status: 'P', evidence: 'works in hypervisors that run; no test of its own' }
    : { group, name, status: 'Y', evidence: TEST[test] };

function ofFacts(group: string, name: string, facts: ControlFacts | undefined, test: Test | undefined): NestedFeature {
  const missing = facts?.feature === undefined ? undefined : absentFeatures[facts.feature];
  if (facts?.refused !== undefined) return { group, name, status: 'N', evidence: facts.refused };
  if (missing !== undefined) return { group, name, status: 'N', evidence: `no CPU model here has ${missing}; the entry checks are there` };
  return works(group, name, test);
}

const ofControls = (group: ControlGroup): NestedFeature[] =>
  group.rows.map((row: ControlRow) => ofFacts(group.title, `${group.key}.${row[1]} ${row[2]}`, row[3], TESTED[`${group.key}.${row[0]}`]));

/** Rows of one group: names, each with its test, a reason why not (after `!`), or nothing. */
const named = (group: string, rows: readonly (readonly [name: string, test?: Test | `!${string}`])[]): NestedFeature[] =>
  rows.map(([name, test]) =>
    test?.startsWith('!') === true ? { group, name, status: 'N', evidence: test.slice(1) } : works(group, name, test as Test | undefined),
  );

const SMM = '!out of scope: dual-monitor treatment of SMM';
const NO_FRED = '!no CPU model here has FRED; the entry checks are there';

const instructions = named('instructions', [
  ['VMXON (with the IA32_FEATURE_CONTROL gate)', 'instructions'],
  ['VMXOFF', 'instructions'],
  ['VMCLEAR', 'instructions'],
  ['VMPTRLD', 'instructions'],
  ['VMPTRST', 'instructions'],
  ['VMREAD and VMWRITE, to read-only fields too (MISC[29])', 'instructions'],
  ['VMLAUNCH, VMRESUME and the launch state', 'instructions'],
  ['VMCALL (exit from L2; VMfail 1 in root operation)', 'instructions'],
  ['VMFUNC leaf 0', 'behaviour'],
  ['INVEPT single-context', 'instructions'],
  ['INVEPT all-context', 'instructions'],
  ['INVVPID individual-address', 'instructions'],
  ['INVVPID single-context', 'instructions'],
  ['INVVPID all-context', 'instructions'],
  ['INVVPID single-context, retaining globals', 'instructions'],
  ['GETSEC (SMX, TXT)', '!needs safer mode extensions (TXT), which this machine does not have'],
]);

const capabilities: readonly NestedFeature[] = [
  ...named('capability MSRs', [
    ['IA32_VMX_BASIC: revision, size, memory type, INS/OUTS information, TRUE_ MSRs', 'capabilities'],
    ['BASIC[56] hardware exceptions with and without error code', 'checks'],
    ['BASIC[58] nested exceptions', NO_FRED],
    ['CR0 and CR4 FIXED0 and FIXED1', 'checks'],
    ['VMCS_ENUM', 'capabilities'],
    ['EPT_VPID_CAP', 'capabilities'],
    ['TRUE_ MSRs of the controls', 'capabilities'],
    ['VMFUNC, PROCBASED_CTLS3 and EXIT_CTLS2', 'capabilities'],
    ['IA32_VMX_MISC: timer rate, CR3 targets, length of MSR lists', 'capabilities'],
  ]),
  ...miscRows.map((row: ControlRow) => ofFacts('capability MSRs', `MISC[${row[1]}] ${row[2]}`, row[3], 'capabilities')),
];

const fieldGroups = named('VMCS fields', [
  ['guest registers', 'guests'],
  ['guest PDPTEs', 'checks'],
  ['activity state: active, HLT, shutdown, wait-for-SIPI', 'checks'],
  ['interruptibility state: STI, MOV SS, NMI', 'more'],
  [
    'interruptibility state: SMI, enclave',
    '!blocking by SMI is for the dual-monitor treatment of SMM, enclaves are for SGX; this machine has neither',
  ],
  ['pending debug exceptions', 'more'],
  ['VMCS link pointer', 'checks'],
  ['guest interrupt status (RVI, SVI)', 'behaviour'],
  ['PML index and address', 'ept'],
  ['guest UINV', 'features'],
  ['guest and host CET', 'cet'],
  ['guest and host PKRS', 'features'],
  ['guest and host FRED', NO_FRED],
  ['host-state area', 'guests'],
  ['CR0 and CR4 guest/host masks and read shadows', 'behaviour'],
  ['CR3-target values', 'behaviour'],
  ['exception bitmap, page-fault error-code mask and match', 'behaviour'],
  ['I/O bitmaps A and B', 'exits'],
  ['MSR bitmap', 'exits'],
  ['VM-exit MSR-store list', 'behaviour'],
  ['VM-exit MSR-load list', 'behaviour'],
  ['VM-entry MSR-load list', 'behaviour'],
  ['executive-VMCS pointer', SMM],
  ['TSC offset and multiplier', 'behaviour'],
  ['TPR threshold, virtual-APIC page, APIC-access page', 'behaviour'],
  ['EOI-exit bitmaps', 'behaviour'],
  ['posted-interrupt vector and descriptor', 'apic'],
  ['EPTP, EPTP list, VM-function controls', 'behaviour'],
  ['VMREAD and VMWRITE bitmaps', 'behaviour'],
  ['#VE information address and EPTP index', 'memory'],
  ['PLE_Gap and PLE_Window', 'exits'],
  ['ENCLS-, ENCLV- and PCONFIG-exiting bitmaps', '!need SGX and PCONFIG, which this machine does not have'],
  ['XSS-exiting bitmap', 'events'],
  ['HLAT pointer and prefix size', 'memory'],
  ['PID-pointer table, last PID-pointer index', 'virtual'],
  ['IA32_SPEC_CTRL mask and shadow', 'more'],
  [
    'PASID directories, instruction timeout',
    '!need ENQCMD and PASIDs, and instruction windows that end after a time, which this machine does not have',
  ],
  ['exit reason, qualification, linear and physical address, interruption information, lengths', 'exits'],
  ['IDT-vectoring information', 'behaviour'],
  ['I/O RCX, RSI, RDI, RIP', SMM],
  ['VM-instruction error', 'instructions'],
  ['VMX-abort indicator', 'events'],
  ['shadow-VMCS indicator', 'instructions'],
  ['injected- and original-event data', NO_FRED],
]);

const ept: readonly NestedFeature[] = [
  ...eptVpidRows.map((row: ControlRow) =>
    ofFacts('EPT and VPID', `${row[1] < 32 ? 'EPT' : 'VPID'}: ${row[2]}`, row[3], row[1] < 23 ? 'ept' : row[1] === 23 ? 'cet' : 'tags'),
  ),
  ...named('EPT and VPID', [
    ['memory types and IPAT', 'ept'],
    ['EPT violations with linear address', 'behaviour'],
    ['EPT misconfiguration', 'behaviour'],
    ['EPTP-list switching', 'behaviour'],
    ['TLB tagged by VPID', 'tags'],
    ['EP4TA-tagged caching across entries', 'tags'],
  ]),
];

const apic = named('APIC virtualization', [
  ['TPR virtualization and threshold exit', 'behaviour'],
  ['PPR virtualization', 'virtual'],
  ['EOI virtualization and EOI exit', 'behaviour'],
  ['self-IPI virtualization', 'virtual'],
  ['APIC-write exits', 'apic'],
  ['APIC-access exits: data', 'behaviour'],
  ['APIC-access exits: fetch', 'apic'],
  ['APIC-access exits: event delivery', 'virtual'],
  ['virtual-interrupt evaluation and delivery', 'behaviour'],
  ['posted-interrupt processing', 'apic'],
  ['IPI virtualization', 'virtual'],
  ['APIC-timer virtualization', 'features'],
]);

const events = named('events and other extensions', [
  ['event injection, types 0, 2, 3, 4, 5, 6', 'behaviour'],
  ['injected monitor trap (type 7, vector 0)', 'behaviour'],
  ['injection of FRED events', NO_FRED],
  ['NMI blocking, and unblocking by IRET', 'events'],
  ['NMI window and virtual NMIs', 'exits'],
  ['interrupt-window exit', 'exits'],
  ['task-switch exit', 'more'],
  ['triple-fault exit', 'behaviour'],
  ['INIT blocked in root operation; INIT and SIPI exits', 'events'],
  ['monitor trap flag', 'exits'],
  ['preemption timer across HLT', 'events'],
  ['SMI in VMX operation (default treatment) and RSM', 'events'],
  ['dual-monitor treatment, STM', SMM],
  ['TXT, SMX', '!needs safer mode extensions (TXT), which this machine does not have'],
  ['Intel PT in VMX', '!needs Intel PT, which this machine does not have'],
  ['architectural LBR in VMX', '!needs architectural last-branch records, which this machine does not have'],
  ['user interrupts in VMX', 'features'],
  ['CET in VMX', 'cet'],
  ['FRED in VMX', NO_FRED],
  ['PKS in VMX', 'features'],
  ['Key Locker exits', '!needs Key Locker, which this machine does not have'],
  ['SGX in VMX', '!needs SGX, which this machine does not have'],
  ['ENQCMD and PASID exits', '!needs ENQCMD and PASIDs, which this machine does not have'],
  ['exits of RDMSR and WRMSRNS with immediate, URDMSR, UWRMSR', 'features'],
  ['SEAMCALL and TDCALL exits', '!needs TDX, which this machine does not have'],
  ['machine-check VM-entry failure (41)', 'events'],
]);

/** Every feature of VMX that a hypervisor may look for, with what shows that it works or why it is not offered. */
export const vmxFeatures: readonly NestedFeature[] = [
  ...instructions,
  ...capabilities,
  ...Object.values(controlGroups).flatMap(ofControls),
  ...fieldGroups,
  ...ept,
  ...apic,
  ...events,
];
