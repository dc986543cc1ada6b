import type { EntryCheck } from '@nestvm/cpu';
import { Cr0, Cr4, Efer } from '@nestvm/isa';
import { NestedControl, Vmcb } from '../vmcb/layout.js';
import { hex64, type VmrunView } from './view.js';

const TITLE = 'APM Vol. 2, "Canonicalization and Consistency Checks"';
const INVALID = 'VMEXIT_INVALID (-1)';
const row = (check: Omit<EntryCheck<VmrunView>, 'title' | 'result' | 'status'> & Partial<EntryCheck<VmrunView>>): EntryCheck<VmrunView> => ({
  title: TITLE,
  result: INVALID,
  status: 'checked',
  ...check,
});

const cr0 = (c: VmrunView): number => c.i32[c.v + Vmcb.CR0]!;
const cr4 = (c: VmrunView): number => c.i32[c.v + Vmcb.CR4]!;
const efer = (c: VmrunView): number => c.i32[c.v + Vmcb.EFER]!;
const high = (c: VmrunView, word: number): number => c.i32[c.v + word + 1]!;
const paging = (c: VmrunView): boolean => (cr0(c) & Cr0.PG) !== 0;
const long = (c: VmrunView): boolean => paging(c) && (efer(c) & Efer.LME) !== 0;
const L = 0x200;
const D = 0x400;
const csAttributes = (c: VmrunView): number => c.i32[c.v + Vmcb.CS]! >>> 16;
const nested = (c: VmrunView): boolean => (c.i32[c.v + Vmcb.NESTED_CONTROL]! & NestedControl.NP_ENABLE) !== 0;

/** Whether the page-directory pointers at CR3 have no reserved bit set; those that are not in RAM pass. */
function pdptesOk(c: VmrunView): boolean {
  const at = c.svm.memory.arenaOffsetOf((c.i32[c.v + Vmcb.CR3]! & ~0x1f) >>> 0);
  if (at < 0) return true;
  for (let i = 0; i < 4; i++) {
    const lo = c.i32[(at >>> 2) + 2 * i]!;
    if ((lo & 1) !== 0 && ((lo & 0x1e6) !== 0 || (c.i32[(at >>> 2) + 2 * i + 1]! & ~c.cpu.features.physicalHighMask) !== 0)) return false;
  }
  return true;
}

/** The checks of the guest's registers, in the order of the manual's list. */
export const saveRows: readonly EntryCheck<VmrunView>[] = [
  row({
    id: 'svm.g.svme',
    subject: 'EFER',
    condition: 'always',
    rule: 'SVME is 1',
    ok: (c) => (efer(c) & Efer.SVME) !== 0,
    say: (c) => `EFER is ${hex64(c, Vmcb.EFER)}, but bit 12 (SVME) must be 1`,
    hint: 'the guest runs with SVME set even when it must not see it: keep the bit in the VMCB and hide it when the guest reads the MSR',
    mutate: (c) => {
      c.i32[c.v + Vmcb.EFER] = efer(c) & ~Efer.SVME;
    },
  }),
  row({
    id: 'svm.g.cr0nw',
    subject: 'CR0',
    condition: 'always',
    rule: 'not (CD = 0 and NW = 1)',
    ok: (c) => (cr0(c) & (Cr0.CD | Cr0.NW)) !== Cr0.NW,
    say: (c) => `CR0 is ${hex64(c, Vmcb.CR0)}: NW (bit 29) is 1 while CD (bit 30) is 0`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR0] = (cr0(c) | Cr0.NW) & ~Cr0.CD;
    },
  }),
  row({
    id: 'svm.g.cr0hi',
    subject: 'CR0',
    condition: 'always',
    rule: 'bits 63:32 are 0',
    ok: (c) => high(c, Vmcb.CR0) === 0,
    say: (c) => `CR0 is ${hex64(c, Vmcb.CR0)}: bits 63:32 must be 0`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR0 + 1] = 1;
    },
  }),
  row({
    id: 'svm.g.cr3',
    subject: 'CR3',
    condition: 'long mode',
    rule: 'bits above the width of physical addresses are 0',
    applies: long,
    ok: (c) => (high(c, Vmcb.CR3) & ~c.cpu.features.physicalHighMask) === 0,
    say: (c) => `CR3 is ${hex64(c, Vmcb.CR3)}, wider than physical addresses (CPUID 8000_0008H EAX[7:0])`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR3 + 1] = 1 << 31;
    },
  }),
  row({
    id: 'svm.g.cr4',
    subject: 'CR4',
    condition: 'always',
    rule: 'bits that the processor does not have are 0',
    ok: (c) => high(c, Vmcb.CR4) === 0 && (cr4(c) & ~c.svm.features.cr4) === 0,
    say: (c) => `CR4 is ${hex64(c, Vmcb.CR4)}, but this CPU model has only the bits 0x${(c.svm.features.cr4 >>> 0).toString(16)}`,
    hint: 'a feature that the guest was shown in CPUID is not one of this CPU model',
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR4 + 1] = 1;
    },
  }),
  row({
    id: 'svm.g.dr6',
    subject: 'DR6',
    condition: 'always',
    rule: 'bits 63:32 are 0',
    ok: (c) => high(c, Vmcb.DR6) === 0,
    say: (c) => `DR6 is ${hex64(c, Vmcb.DR6)}: bits 63:32 must be 0`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.DR6 + 1] = 1;
    },
  }),
  row({
    id: 'svm.g.dr7',
    subject: 'DR7',
    condition: 'always',
    rule: 'bits 63:32 are 0',
    ok: (c) => high(c, Vmcb.DR7) === 0,
    say: (c) => `DR7 is ${hex64(c, Vmcb.DR7)}: bits 63:32 must be 0`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.DR7 + 1] = 1;
    },
  }),
  row({
    id: 'svm.g.efer',
    subject: 'EFER',
    condition: 'always',
    rule: 'bits that the processor does not have are 0',
    ok: (c) => high(c, Vmcb.EFER) === 0 && (efer(c) & ~c.svm.features.efer) === 0,
    say: (c) => `EFER is ${hex64(c, Vmcb.EFER)}, but this CPU model has only the bits 0x${(c.svm.features.efer >>> 0).toString(16)}`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.EFER + 1] = 1;
    },
  }),
  row({
    id: 'svm.g.lmepae',
    subject: 'EFER, CR0, CR4',
    condition: 'EFER.LME = 1 and CR0.PG = 1',
    rule: 'CR4.PAE is 1',
    applies: long,
    ok: (c) => (cr4(c) & Cr4.PAE) !== 0,
    say: (c) => `EFER.LME and CR0.PG are 1 but CR4 (${hex64(c, Vmcb.CR4)}) lacks PAE (bit 5)`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR4] = cr4(c) & ~Cr4.PAE;
    },
  }),
  row({
    id: 'svm.g.lmepe',
    subject: 'EFER, CR0',
    condition: 'EFER.LME = 1 and CR0.PG = 1',
    rule: 'CR0.PE is 1',
    applies: long,
    ok: (c) => (cr0(c) & Cr0.PE) !== 0,
    say: (c) => `EFER.LME and CR0.PG are 1 but CR0 (${hex64(c, Vmcb.CR0)}) lacks PE (bit 0)`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR0] = cr0(c) & ~Cr0.PE;
    },
  }),
  row({
    id: 'svm.g.ld',
    subject: 'CS',
    condition: 'EFER.LME, CR0.PG and CR4.PAE = 1',
    rule: 'CS.L and CS.D are not both 1',
    applies: (c) => long(c) && (cr4(c) & Cr4.PAE) !== 0,
    ok: (c) => (csAttributes(c) & (L | D)) !== (L | D),
    say: (c) => `CS attributes are 0x${csAttributes(c).toString(16)}: L (bit 9) and D (bit 10) are both 1`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CS] = c.i32[c.v + Vmcb.CS]! | ((L | D) << 16);
    },
  }),
  row({
    id: 'svm.g.cetwp',
    subject: 'CR4, CR0',
    condition: 'CR4.CET = 1',
    rule: 'CR0.WP is 1',
    applies: (c) => (cr4(c) & Cr4.CET) !== 0,
    ok: (c) => (cr0(c) & Cr0.WP) !== 0,
    say: (c) => `CR4.CET is 1 but CR0 (${hex64(c, Vmcb.CR0)}) lacks WP (bit 16)`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR4] = cr4(c) | Cr4.CET;
      c.i32[c.v + Vmcb.CR0] = cr0(c) & ~Cr0.WP;
    },
  }),
  row({
    id: 'svm.g.scet',
    subject: 'S_CET',
    condition: 'CR4.CET = 1',
    rule: 'reserved bits are 0',
    applies: (c) => (cr4(c) & Cr4.CET) !== 0,
    ok: (c) => (c.i32[c.v + Vmcb.S_CET]! & 0x3c0) === 0,
    say: (c) => `S_CET is ${hex64(c, Vmcb.S_CET)}: bits 9:6 must be 0`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.CR4] = cr4(c) | Cr4.CET;
      c.i32[c.v + Vmcb.S_CET] = 0x40;
    },
  }),
  row({
    id: 'svm.g.pdpte',
    subject: 'page-directory pointers at CR3',
    condition: 'PAE paging without nested paging',
    rule: 'reserved bits of present entries are 0',
    applies: (c) => paging(c) && !long(c) && (cr4(c) & Cr4.PAE) !== 0 && !nested(c),
    ok: pdptesOk,
    say: (c) => `one of the four page-directory pointers at CR3 (${hex64(c, Vmcb.CR3)}) is present with reserved bits set`,
    mutate: (c) => {
      c.i32[c.v + Vmcb.NESTED_CONTROL] = 0;
      c.i32[c.v + Vmcb.EFER] = efer(c) & ~(Efer.LME | Efer.LMA);
      c.i32[c.v + Vmcb.CR4] = cr4(c) | Cr4.PAE;
      const at = c.svm.memory.arenaOffsetOf((c.i32[c.v + Vmcb.CR3]! & ~0x1f) >>> 0);
      c.i32[at >>> 2] = 0x1e7;
    },
  }),
];
