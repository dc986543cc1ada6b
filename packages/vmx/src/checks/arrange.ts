import type { ControlGroupKey } from '../controls/controls.js';
import { controlGroups, Proc1 } from '../controls/controls.js';
import type { ControlRow } from '../controls/table.js';
import { F } from '../fields/layout.js';
import type { EntryContext } from './context.js';

/** Pages below 1 MiB that arranged controls point to; tests have RAM there. */
const PAGE = {
  CR3: 0x3000,
  VIRTUAL_APIC: 0x4000,
  POSTED: 0x5000,
  IO_A: 0x6000,
  IO_B: 0x7000,
  MSR: 0x8000,
  PML: 0x9000,
  SPP: 0xa000,
  VE: 0xb000,
  VMREAD: 0xc000,
  VMWRITE: 0xd000,
  HLAT: 0xe000,
  PID: 0xf000,
  EPT: 0x1_0000,
  EPTP_LIST: 0x1_1000,
  PASID: 0x1_2000,
} as const;

/** Control groups whose words count only when another control is 1. */
const ACTIVATED_BY: Readonly<Partial<Record<ControlGroupKey, readonly [ControlGroupKey, string]>>> = {
  proc2: ['proc1', 'ACTIVATE_SECONDARY_CONTROLS'],
  proc3: ['proc1', 'ACTIVATE_TERTIARY_CONTROLS'],
  exit2: ['exit', 'ACTIVATE_SECONDARY_CONTROLS'],
  vmfunc: ['proc2', 'ENABLE_VM_FUNCTIONS'],
};

/** What a control needs to be valid when it is 1: other controls, and values of fields. */
const NEEDS: Readonly<Record<string, readonly (readonly [ControlGroupKey, string] | readonly [word: number, lo: number, hi?: number])[]>> = {
  'pin.VIRTUAL_NMIS': [['pin', 'NMI_EXITING']],
  'pin.PROCESS_POSTED_INTERRUPTS': [
    ['proc2', 'VIRTUAL_INTERRUPT_DELIVERY'],
    ['exit', 'ACKNOWLEDGE_INTERRUPT'],
    [F.POSTED_INTERRUPT_VECTOR, 0xf2],
    [F.POSTED_INTERRUPT_DESCRIPTOR, PAGE.POSTED],
  ],
  'proc1.NMI_WINDOW_EXITING': [['pin', 'VIRTUAL_NMIS']],
  'proc1.USE_IO_BITMAPS': [
    [F.IO_BITMAP_A, PAGE.IO_A],
    [F.IO_BITMAP_B, PAGE.IO_B],
  ],
  'proc1.USE_MSR_BITMAPS': [[F.MSR_BITMAP, PAGE.MSR]],
  'proc1.USE_TPR_SHADOW': [[F.VIRTUAL_APIC_ADDRESS, PAGE.VIRTUAL_APIC]],
  'proc2.VIRTUALIZE_APIC_ACCESSES': [[F.APIC_ACCESS_ADDRESS, 0xfee0_0000 | 0]],
  'proc2.VIRTUALIZE_X2APIC_MODE': [['proc1', 'USE_TPR_SHADOW']],
  'proc2.APIC_REGISTER_VIRTUALIZATION': [['proc1', 'USE_TPR_SHADOW']],
  'proc2.VIRTUAL_INTERRUPT_DELIVERY': [
    ['proc1', 'USE_TPR_SHADOW'],
    ['pin', 'EXTERNAL_INTERRUPT_EXITING'],
  ],
  'proc2.ENABLE_EPT': [[F.EPT_POINTER, PAGE.EPT | 0x1e]],
  'proc2.ENABLE_VPID': [[F.VPID, 1]],
  'proc2.UNRESTRICTED_GUEST': [['proc2', 'ENABLE_EPT']],
  'proc2.ENABLE_PML': [
    ['proc2', 'ENABLE_EPT'],
    [F.PML_ADDRESS, PAGE.PML],
  ],
  'proc2.MODE_BASED_EXECUTE_CONTROL': [['proc2', 'ENABLE_EPT']],
  'proc2.SUB_PAGE_WRITE_PERMISSIONS': [
    ['proc2', 'ENABLE_EPT'],
    [F.SPP_TABLE_POINTER, PAGE.SPP],
  ],
  'proc2.EPT_VIOLATION_VE': [[F.VE_INFORMATION_ADDRESS, PAGE.VE]],
  'proc2.VMCS_SHADOWING': [
    [F.VMREAD_BITMAP, PAGE.VMREAD],
    [F.VMWRITE_BITMAP, PAGE.VMWRITE],
  ],
  'proc2.USE_TSC_SCALING': [[F.TSC_MULTIPLIER, 0, 0x1_0000]],
  'proc2.PT_USES_GUEST_PHYSICAL': [
    ['proc2', 'ENABLE_EPT'],
    ['entry', 'LOAD_RTIT_CTL'],
    ['exit', 'CLEAR_RTIT_CTL'],
  ],
  'proc2.PASID_TRANSLATION': [
    [F.LOW_PASID_DIRECTORY, PAGE.PASID],
    [F.HIGH_PASID_DIRECTORY, PAGE.PASID],
  ],
  'proc3.ENABLE_HLAT': [
    ['proc2', 'ENABLE_EPT'],
    [F.HLAT_POINTER, PAGE.HLAT],
  ],
  'proc3.EPT_PAGING_WRITE_CONTROL': [['proc2', 'ENABLE_EPT']],
  'proc3.GUEST_PAGING_VERIFICATION': [['proc2', 'ENABLE_EPT']],
  'proc3.IPI_VIRTUALIZATION': [
    ['proc1', 'USE_TPR_SHADOW'],
    [F.PID_POINTER_TABLE, PAGE.PID],
  ],
  'proc3.APIC_TIMER_VIRTUALIZATION': [
    ['proc2', 'VIRTUAL_INTERRUPT_DELIVERY'],
    [F.VIRTUAL_TIMER_VECTOR, 0x50],
  ],
  'vmfunc.EPTP_SWITCHING': [
    ['proc2', 'ENABLE_EPT'],
    [F.EPTP_LIST_ADDRESS, PAGE.EPTP_LIST],
  ],
  'entry.ENTRY_TO_SMM': [[F.GUEST_INTERRUPTIBILITY, 4]],
  'exit.SAVE_PREEMPTION_TIMER': [['pin', 'ACTIVATE_PREEMPTION_TIMER']],
};

/** Sets or clears a control and leaves a VMCS that is valid for it. */
export function arrangeControl(c: EntryContext, group: ControlGroupKey, key: string, value: boolean): void {
  const name = `${group}.${key}`;
  const activator = ACTIVATED_BY[group];
  if (value && activator !== undefined) arrangeControl(c, ...activator, true);
  setControl(c, group, key, value);
  if (!value) {
    if (name === 'entry.IA32E_MODE_GUEST') arrangeGuest32(c);
    if (name === 'exit.HOST_ADDRESS_SPACE_SIZE') arrangeHost32(c);
    return;
  }
  for (const need of NEEDS[name] ?? []) {
    if (typeof need[0] === 'number') c.set(need[0], need[1] as number, need[2] ?? 0);
    else arrangeControl(c, need[0], need[1] as string, true);
  }
}

/** Sets or clears one control and nothing else. */
export function setControl(c: EntryContext, group: ControlGroupKey, key: string, value: boolean): void {
  const { rows, field } = controlGroups[group];
  const row = rows.find((candidate: ControlRow) => candidate[0] === key) as ControlRow;
  const mask = 1 << row[1];
  c.set(F[field], value ? c.lo(F[field]) | mask : c.lo(F[field]) & ~mask, c.hi(F[field]));
}

/** A protected-mode guest with PAE paging in place of a 64-bit one. */
function arrangeGuest32(c: EntryContext): void {
  c.set(F.GUEST_CS_ACCESS_RIGHTS, 0xc09b);
  c.set(F.GUEST_IA32_EFER, 0x801);
  c.set(F.GUEST_RIP, 0x1000);
  c.set(F.GUEST_RSP, 0x2000);
}

/** A 32-bit host, as a 32-bit hypervisor has it. */
function arrangeHost32(c: EntryContext): void {
  arrangeControl(c, 'entry', 'IA32E_MODE_GUEST', false);
  c.longMode = false;
  c.set(F.HOST_IA32_EFER, 0x801);
  c.set(F.HOST_RIP, 0x1000);
}

const CODE_64 = 0xa09b;
const DATA_32 = 0xc093;
const BUSY_TSS = 0x8b;
const UNUSABLE = 0x1_0000;

/**
 * Fills the region at `c.base` with a VMCS that every check lets pass: a 64-bit host, a 64-bit guest at CPL 0, no controls but those that must be 1.
 * Its page tables are at physical address 3000h; the region's revision is right, and its launch state is clear.
 */
export function writeValidVmcs(c: EntryContext): void {
  const { capabilities } = c;
  c.i32.fill(0, c.base, c.base + 1024);
  c.i32[c.base] = capabilities.revision;
  for (const group of Object.values(controlGroups)) c.set(F[group.field], capabilities.controls[group.key].must);
  c.set(F.PRIMARY_CONTROLS, c.lo(F.PRIMARY_CONTROLS) & ~Proc1.ACTIVATE_SECONDARY_CONTROLS);
  arrangeControl(c, 'exit', 'HOST_ADDRESS_SPACE_SIZE', true);
  arrangeControl(c, 'entry', 'IA32E_MODE_GUEST', true);
  writeHostState(c);
  writeGuestState(c);
  c.set(F.VMCS_LINK_POINTER, -1, -1);
  c.longMode = true;
}

function writeHostState(c: EntryContext): void {
  for (const word of [F.HOST_SS_SELECTOR, F.HOST_DS_SELECTOR, F.HOST_ES_SELECTOR]) c.set(word, 0x10);
  c.set(F.HOST_CS_SELECTOR, 0x08);
  c.set(F.HOST_TR_SELECTOR, 0x18);
  c.set(F.HOST_CR0, 0x8000_0031 | 0);
  c.set(F.HOST_CR3, PAGE.CR3);
  c.set(F.HOST_CR4, 0x2020);
  c.set(F.HOST_IA32_PAT, 0x0007_0406, 0x0007_0406);
  c.set(F.HOST_IA32_EFER, 0xd01);
  c.set(F.HOST_RSP, 0x8000, 0xffff_8000 | 0);
  c.set(F.HOST_RIP, 0x1000, 0xffff_8000 | 0);
}

function writeGuestState(c: EntryContext): void {
  for (const name of ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'] as const) {
    c.set(F[`GUEST_${name}_SELECTOR`], name === 'CS' ? 0x08 : 0x10);
    c.set(F[`GUEST_${name}_LIMIT`], -1);
    c.set(F[`GUEST_${name}_ACCESS_RIGHTS`], name === 'CS' ? CODE_64 : DATA_32);
  }
  c.set(F.GUEST_TR_SELECTOR, 0x18);
  c.set(F.GUEST_TR_LIMIT, 0x67);
  c.set(F.GUEST_TR_ACCESS_RIGHTS, BUSY_TSS);
  c.set(F.GUEST_LDTR_ACCESS_RIGHTS, UNUSABLE);
  c.set(F.GUEST_GDTR_LIMIT, 0xffff);
  c.set(F.GUEST_IDTR_LIMIT, 0xffff);
  c.set(F.GUEST_CR0, 0x8000_0031 | 0);
  c.set(F.GUEST_CR3, PAGE.CR3);
  c.set(F.GUEST_CR4, 0x2020);
  c.set(F.GUEST_DR7, 0x400);
  c.set(F.GUEST_RFLAGS, 0x2);
  c.set(F.GUEST_IA32_PAT, 0x0007_0406, 0x0007_0406);
  c.set(F.GUEST_IA32_EFER, 0xd01);
  c.set(F.GUEST_RIP, 0x1000, 0xffff_8000 | 0);
  c.set(F.GUEST_RSP, 0x8000, 0xffff_8000 | 0);
}
