import { Cr4 } from '@nestvm/isa';
import { Entry, Proc2 } from '../../controls/controls.js';
import { F } from '../../fields/layout.js';
import type { FieldName } from '../../fields/table.js';
import type { VmxCheck } from '../check.js';
import { check } from '../check.js';
import { all, given, inSmm, off, on } from '../condition.js';
import type { EntryContext } from '../context.js';
import { aligned, isPhysical, withinWidth } from '../rules.js';

const LINK = F.VMCS_LINK_POINTER;
/** Page that arranged link pointers and PDPTs use. */
const FREE_PAGE = 0x2000;
const hint = 'without VMCS shadowing set the link pointer to FFFFFFFF_FFFFFFFFH';

const linked = given(
  'VMCS link pointer is not FFFFFFFF_FFFFFFFFH',
  ['VMCS_LINK_POINTER'],
  (c) => c.lo(LINK) !== -1 || c.hi(LINK) !== -1,
  (c) => {
    writeWord(c, FREE_PAGE, c.capabilities.revision);
    c.set(LINK, FREE_PAGE);
  },
);
/** Word 0 of the linked VMCS. */
const firstWord = (c: EntryContext): number => c.physicalWord(c.lo(LINK), c.hi(LINK));
const isPointer = (c: EntryContext, pa: number): boolean => pa >= 0 && (c.lo(LINK) >>> 0) + (c.hi(LINK) >>> 0) * 0x1_0000_0000 === pa;

function writeWord(c: EntryContext, pa: number, value: number): void {
  c.memory.write32(pa, value);
}

/** Checks on the VMCS link pointer. */
export const linkRows: readonly VmxCheck[] = [
  aligned('link', 'link.align', 'VMCS_LINK_POINTER', 12, linked, { hint }),
  withinWidth('link', 'link.width', 'VMCS_LINK_POINTER', linked, { hint }),
  check('link', 'link.rev', {
    when: linked,
    fields: ['VMCS_LINK_POINTER'],
    subject: 'bits 30:0 of the first word of the linked VMCS',
    rule: 'is the VMCS revision identifier of this CPU',
    volatile: true,
    ok: (c) => (firstWord(c) & 0x7fff_ffff) === c.capabilities.revision,
    breaks: (c) => writeWord(c, FREE_PAGE, 0x1234),
    say: (c) => `the first word there is 0x${(firstWord(c) >>> 0).toString(16)}, IA32_VMX_BASIC[30:0] is 0x${c.capabilities.revision.toString(16)}`,
    hint,
  }),
  check('link', 'link.shadow', {
    when: linked,
    fields: ['VMCS_LINK_POINTER', 'PRIMARY_CONTROLS', 'SECONDARY_CONTROLS'],
    subject: 'bit 31 of the first word of the linked VMCS (shadow-VMCS indicator)',
    rule: 'equals “VMCS shadowing”',
    volatile: true,
    ok: (c) => firstWord(c) < 0 === ((c.proc2 & Proc2.VMCS_SHADOWING) !== 0),
    breaks: (c) => writeWord(c, FREE_PAGE, c.capabilities.revision | (1 << 31)),
    hint,
  }),
  check('link', 'link.cur', {
    when: all(
      linked,
      given('not in SMM, or “entry to SMM” = 1', ['ENTRY_CONTROLS'], (c) => !c.inSmm || (c.entry & Entry.ENTRY_TO_SMM) !== 0),
    ),
    fields: ['VMCS_LINK_POINTER'],
    rule: 'is not the current-VMCS pointer',
    volatile: true,
    ok: (c) => !isPointer(c, c.currentVmcs),
    breaks: (c) => c.set(LINK, c.currentVmcs),
  }),
  check('link', 'link.vmxon', {
    when: all(linked, inSmm, off('entry', 'ENTRY_TO_SMM')),
    fields: ['VMCS_LINK_POINTER'],
    rule: 'is not the VMXON pointer',
    volatile: true,
    ok: (c) => !isPointer(c, c.vmxonRegion),
    breaks: (c) => {
      c.vmxonRegion = FREE_PAGE;
      c.set(F.EXECUTIVE_VMCS_POINTER, FREE_PAGE);
    },
  }),
];

/** Bits 2:1 and 8:5 of a PDPTE are reserved, and those beyond MAXPHYADDR. */
const pdpteOk = (c: EntryContext, lo: number, hi: number): boolean => (lo & 1) === 0 || ((lo & 0x1e6) === 0 && isPhysical(c, hi));

const pdpteFieldOk =
  (word: number) =>
  (c: EntryContext): boolean =>
    pdpteOk(c, c.lo(word), c.hi(word));

const paePaging = given(
  'PAE paging (CR0.PG = 1, CR4.PAE = 1, “IA-32e mode guest” = 0)',
  ['GUEST_CR0', 'GUEST_CR4', 'ENTRY_CONTROLS'],
  (c) => c.lo(F.GUEST_CR0) < 0 && (c.lo(F.GUEST_CR4) & Cr4.PAE) !== 0 && (c.entry & Entry.IA32E_MODE_GUEST) === 0,
  off('entry', 'IA32E_MODE_GUEST').arrange,
);

/** The four PDPTEs at guest CR3, which is a physical address here. */
function pdptesAtCr3Ok(c: EntryContext): boolean {
  const lo = c.lo(F.GUEST_CR3) & ~31;
  const hi = c.hi(F.GUEST_CR3);
  for (let i = 0; i < 4; i++) if (!pdpteOk(c, c.physicalWord(lo + 8 * i, hi), c.physicalWord(lo + 8 * i + 4, hi))) return false;
  return true;
}

const PDPTES: readonly FieldName[] = ['GUEST_PDPTE0', 'GUEST_PDPTE1', 'GUEST_PDPTE2', 'GUEST_PDPTE3'];

/** Checks on guest page-directory-pointer-table entries. */
export const pdpteRows: readonly VmxCheck[] = [
  ...PDPTES.map((field, i) =>
    check('pdptes', `pdpte${i}.ept`, {
      when: all(paePaging, on('proc2', 'ENABLE_EPT')),
      fields: [field],
      rule: 'reserved bits (2:1, 8:5, beyond MAXPHYADDR) are 0 if P (bit 0) is 1',
      ok: pdpteFieldOk(F[field]),
      breaks: (c) => c.set(F[field], 0x1003),
    }),
  ),
  check('pdptes', 'pdpte.cr3', {
    when: all(paePaging, off('proc2', 'ENABLE_EPT')),
    fields: ['GUEST_CR3'],
    subject: 'the four PDPTEs at guest CR3',
    rule: 'reserved bits (2:1, 8:5, beyond MAXPHYADDR) are 0 in each that has P (bit 0) = 1',
    volatile: true,
    ok: pdptesAtCr3Ok,
    breaks: (c) => {
      c.set(F.GUEST_CR3, FREE_PAGE);
      writeWord(c, FREE_PAGE + 8, 0x1003);
    },
  }),
];
