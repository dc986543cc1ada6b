import type { NestedFeature } from '@nestvm/cpu';
import { sensitiveEvents } from '@nestvm/isa';
import { exitCodeName } from './exits/codes.js';
import { interceptMap } from './intercepts/map.js';

const TEST = {
  exits: 'packages/svm/test/exits.test.ts',
  exceptions: 'packages/svm/test/exceptions.test.ts',
  msrs: 'packages/svm/test/msrs.test.ts',
  more: 'packages/svm/test/more-exits.test.ts',
  avic: 'packages/svm/test/avic.test.ts',
  branches: 'packages/svm/test/branches.test.ts',
  traps: 'packages/svm/test/write-traps.test.ts',
  checks: 'packages/svm/test/checks.test.ts',
  fuzz: 'packages/svm/test/fuzz.test.ts',
  guests: 'packages/guests/test/guests.test.ts',
  cet: 'packages/svm/test/cet.test.ts',
  mmu: 'packages/mmu/test/nested.property.test.ts',
  tags: 'packages/mmu/test/nested-invalidation.test.ts',
} as const;

type Row = readonly [name: string, status: NestedFeature['status'], evidence: string];

const rows = (group: string, list: readonly Row[]): NestedFeature[] => list.map(([name, status, evidence]) => ({ group, name, status, evidence }));

/** Simple intercepts, which one test goes through by instruction. */
const TESTED_EVENTS = new Set([
  'CPUID',
  'RDTSC',
  'RDTSCP',
  'RDPMC',
  'RDPRU',
  'PUSHF',
  'POPF',
  'IRET',
  'INVD',
  'WBINVD',
  'INVLPGA',
  'INVLPGB',
  'INVLPGB_ILLEGAL',
  'TLBSYNC',
  'VMRUN',
  'VMLOAD',
  'VMSAVE',
  'STGI',
  'CLGI',
  'SKINIT',
  'INT1',
  'SGDT',
  'LIDT',
  'SLDT',
  'LTR',
  'VMMCALL',
]);
/** … and those of the other test. */
const MORE_EVENTS = new Set(['SIDT', 'LGDT', 'STR', 'LLDT', 'MONITOR', 'XSETBV', 'TASK_SWITCH', 'RSM', 'INVPCID']);

const simpleIntercepts: readonly Row[] = sensitiveEvents
  .filter((event) => interceptMap[event] > 0)
  .map((event): Row => {
    const name = exitCodeName(interceptMap[event]);
    if (MORE_EVENTS.has(event)) return [name, 'Y', TEST.more];
    return TESTED_EVENTS.has(event) ? [name, 'Y', TEST.exits] : [name, 'P', 'the same rule as its neighbours'];
  });

/** What of SVM is there, for the reference page (APM Vol. 2, "Secure Virtual Machine"). */
export const svmFeatures: readonly NestedFeature[] = [
  ...rows('Instructions and MSRs', [
    ['VMRUN and #VMEXIT', 'Y', TEST.exits],
    ['VMLOAD, VMSAVE', 'Y', TEST.guests],
    ['STGI, CLGI and GIF', 'Y', TEST.exits],
    ['INVLPGA', 'Y', TEST.more],
    ['VMMCALL', 'Y', TEST.exits],
    ['MCOMMIT', 'N', 'no CPU model here has MCOMMIT, whose intercept has nothing to intercept'],
    ['SKINIT', 'N', 'needs a TPM to measure into, which this machine does not have: #UD, unless intercepted'],
    ['EFER.SVME, VM_CR (SVMDIS, LOCK)', 'Y', TEST.msrs],
    ['VM_CR.R_INIT: INIT becomes #SX', 'Y', TEST.exits],
    ['VM_HSAVE_PA', 'Y', TEST.checks],
    ['DEBUGCTL and the last-branch registers', 'Y', TEST.branches],
    ['TSC_RATIO', 'Y', TEST.msrs],
    ['SVM lock and SVM_KEY', 'Y', TEST.msrs],
    ['SMM: SMI in guest mode', 'Y', TEST.more],
  ]),
  ...rows('Intercepts', [
    ['CR0-CR15 read and write, CR0_SEL_WRITE, CLTS, LMSW, SMSW', 'Y', TEST.exits],
    ['DR0-DR15 read and write', 'Y', TEST.exits],
    ['exceptions 0-31', 'Y', TEST.exceptions],
    ['INTR, NMI, VINTR, SHUTDOWN', 'Y', TEST.exits],
    ['SMI', 'Y', TEST.more],
    ['INIT', 'Y', TEST.exits],
    ['IOIO by the permission map', 'Y', TEST.exits],
    ['MSR by the permission map', 'Y', TEST.exits],
    ['PAUSE, its filter and threshold', 'Y', TEST.exits],
    ['INVLPG, INTn', 'Y', TEST.exits],
    ['HLT, idle HLT', 'Y', TEST.exits],
    ['MWAIT, MWAIT armed', 'Y', TEST.more],
    ['FERR_FREEZE', 'Y', TEST.traps],
    ['EFER and CR0-CR15 write traps', 'Y', TEST.traps],
    ...simpleIntercepts,
  ]),
  ...rows('Control area', [
    ['consistency checks, with those of nCR3', 'Y', TEST.checks],
    ['SVME address check: VMRUN, VMLOAD and VMSAVE of what is no page of memory', 'Y', TEST.checks],
    ['shutdown when the page-directory pointers of a PAE host are not valid', 'Y', TEST.checks],
    ['random VMCBs', 'Y', TEST.fuzz],
    ['EVENTINJ, EXITINTINFO', 'Y', TEST.exits],
    ['nRIP', 'Y', TEST.exits],
    ['decode assists: MOV CR and DR, INVLPG, INTn, instruction bytes', 'Y', TEST.exits],
    ['V_TPR, V_IRQ, priorities, V_INTR_MASKING', 'Y', TEST.exits],
    ['virtual GIF, virtual NMI', 'Y', TEST.exits],
    ['interrupt shadow', 'Y', TEST.traps],
    ['ASIDs, TLB_CONTROL 1, 3, 7', 'Y', TEST.tags],
    ['virtual VMLOAD and VMSAVE', 'Y', TEST.exits],
    ['TSC_OFFSET', 'Y', TEST.msrs],
    ['clean bits (hints: every field is read at each VMRUN)', 'Y', TEST.traps],
    ['paged real mode', 'Y', TEST.more],
    ['LBR virtualization', 'Y', TEST.branches],
    ['AVIC: registers, virtual interrupts, IPIs, doorbells', 'Y', TEST.avic],
    ['x2AVIC', 'Y', TEST.avic],
    ['SEV, SEV-ES, SEV-SNP', 'N', 'need memory encryption and a secure processor, which this machine does not have'],
    ['CET state in the VMCB', 'Y', TEST.cet],
    ['ERAPS and ERAP_CTL (nothing predicts returns here, so there is nothing to clear)', 'Y', 'packages/isa/src/models/parse.test.ts'],
    [
      'bus-lock threshold, IBS, PMC and SPEC_CTRL virtualization, HOST_MCE_OVERRIDE, enhanced shutdown intercept, x2AVIC with 4096 ids',
      'N',
      'no CPU model here has these bits of CPUID 8000_000AH, nor bus-lock detection and IBS',
    ],
  ]),
  ...rows('Nested paging', [
    ['4 and 5 levels, PAE and 32-bit hosts; 2 MiB, 4 MiB, 1 GiB', 'Y', TEST.mmu],
    ['accessed and dirty flags', 'Y', TEST.mmu],
    ['NPF error codes, final and table', 'Y', TEST.exceptions],
    ['guest PAT (memory types have no effect)', 'Y', TEST.more],
    ['legacy (shadow) paging, np = 0', 'Y', TEST.more],
    ['GMET, supervisor shadow-stack check, read-only guest page tables', 'N', 'no CPU model here has these bits of CPUID 8000_000AH'],
  ]),
];
