import { F } from '../../fields/layout.js';
import type { CheckSpec, VmxCheck } from '../check.js';
import { check } from '../check.js';
import type { Condition } from '../condition.js';
import { given } from '../condition.js';
import type { EntryContext } from '../context.js';

const FS_BASE = 0xc000_0100;
const GS_BASE = 0xc000_0101;
const EFER = 0xc000_0080;
const SMM_MONITOR_CTL = 0x9b;
const SMBASE = 0x9e;
const BIOS_UPDT_TRIG = 0x79;
const BIOS_SIGN_ID = 0x8b;
const LME = 0x100;

const used: Condition = given('for each entry of the list', ['ENTRY_MSR_LOAD_COUNT'], (c) => c.lo(F.ENTRY_MSR_LOAD_COUNT) !== 0, arrangeList);

/** A list of one entry, IA32_SYSENTER_CS. */
function arrangeList(c: EntryContext): void {
  c.set(F.ENTRY_MSR_LOAD_COUNT, 1);
  c.set(F.ENTRY_MSR_LOAD_ADDRESS, 0x1_4000);
  writeEntry(c, 0x174);
}

/** Writes the one entry. */
function writeEntry(c: EntryContext, index: number, lo = 0, hi = 0, reserved = 0): void {
  [index, reserved, lo, hi].forEach((value, i) => c.memory.write32(0x1_4000 + 4 * i, value));
}

const row = (id: string, rule: string, ok: CheckSpec['ok'], breaks: (c: EntryContext) => void, more: Partial<CheckSpec> = {}): VmxCheck =>
  check('msrLoad', id, {
    when: used,
    subject: 'entry of the VM-entry MSR-load list',
    fields: [],
    volatile: true,
    say: (c) =>
      `MSR ${(c.msrIndex >>> 0).toString(16).toUpperCase()}H = 0x${(c.msrHi >>> 0).toString(16).padStart(8, '0')}${(c.msrLo >>> 0).toString(16).padStart(8, '0')}`,
    ...more,
    rule,
    ok,
    breaks,
  });

const index = (c: EntryContext): number => c.msrIndex >>> 0;

/** Checks on each entry of the VM-entry MSR-load list; the entry is in the `msr…` properties of the context. */
export const msrLoadRows: readonly VmxCheck[] = [
  row(
    'msr.fsgs',
    'the MSR is not IA32_FS_BASE or IA32_GS_BASE',
    (c) => index(c) !== FS_BASE && index(c) !== GS_BASE,
    (c) => writeEntry(c, FS_BASE),
    { hint: 'the bases are fields of the guest-state area' },
  ),
  row(
    'msr.x2apic',
    'the MSR is not one of the local APIC (8xxH) in x2APIC mode',
    (c) => !c.x2apic || index(c) >>> 8 !== 8,
    (c) => {
      c.x2apic = true;
      writeEntry(c, 0x808);
    },
  ),
  row(
    'msr.smm',
    'the MSR is not one that only SMM writes (IA32_SMM_MONITOR_CTL, IA32_SMBASE)',
    (c) => c.inSmm || (index(c) !== SMM_MONITOR_CTL && index(c) !== SMBASE),
    (c) => writeEntry(c, SMBASE),
  ),
  row(
    'msr.model',
    'the MSR is not one that this processor keeps out of lists (IA32_BIOS_UPDT_TRIG, IA32_BIOS_SIGN_ID)',
    (c) => index(c) !== BIOS_UPDT_TRIG && index(c) !== BIOS_SIGN_ID,
    (c) => writeEntry(c, BIOS_UPDT_TRIG),
  ),
  row(
    'msr.rsvd',
    'bits 63:32 of the entry are 0',
    (c) => c.msrReserved === 0,
    (c) => writeEntry(c, 0x174, 0, 0, 1),
  ),
  row(
    'msr.wrmsr',
    'WRMSR at CPL 0 would take the value',
    (c) => c.canWriteMsr(index(c), c.msrLo, c.msrHi),
    (c) => {
      c.canWriteMsr = () => false;
    },
  ),
  row(
    'msr.eferlme',
    'IA32_EFER.LME does not change while guest CR0.PG is 1',
    (c) => index(c) !== EFER || c.lo(F.GUEST_CR0) >= 0 || ((c.msrLo & LME) !== 0) === ((c.entry & (1 << 9)) !== 0),
    (c) => writeEntry(c, EFER, 0x401),
  ),
  check('msrLoad', 'msr.count', {
    fields: ['ENTRY_MSR_LOAD_COUNT'],
    rule: 'is at most 512 × (IA32_VMX_MISC[27:25] + 1)',
    volatile: true,
    ok: (c) => c.lo(F.ENTRY_MSR_LOAD_COUNT) >>> 0 <= c.capabilities.msrListLimit,
    breaks: (c) => {
      arrangeList(c);
      c.set(F.ENTRY_MSR_LOAD_COUNT, c.capabilities.msrListLimit + 1);
    },
    hint: 'the manual leaves open what longer lists do; here the entry fails',
  }),
];
