import type { EntryCheck } from '@nestvm/cpu';
import { CR0 as CPU_CR0 } from '@nestvm/cpu/extension';
import { Cr0, Efer, Vector } from '@nestvm/isa';
import { ExitCode } from '../exits/codes.js';
import { EventInfo, IntControl, NestedControl, Vmcb } from '../vmcb/layout.js';
import { hex32, hex64, type VmrunView } from './view.js';

const TITLE = 'APM Vol. 2, "Canonicalization and Consistency Checks"';
const INVALID = 'VMEXIT_INVALID (-1)';
const row = (check: Omit<EntryCheck<VmrunView>, 'title' | 'result' | 'status'> & Partial<EntryCheck<VmrunView>>): EntryCheck<VmrunView> => ({
  title: TITLE,
  result: INVALID,
  status: 'checked',
  ...check,
});

const word = (c: VmrunView, index: number): number => c.i32[c.v + index]!;
const set = (c: VmrunView, index: number, value: number): void => {
  c.i32[c.v + index] = value;
};
const nested = (c: VmrunView): boolean => (word(c, Vmcb.NESTED_CONTROL) & NestedControl.NP_ENABLE) !== 0;
const intercepts = (c: VmrunView, code: number): boolean => ((word(c, Vmcb.INTERCEPTS + (code >>> 5) - 3) >>> (code & 31)) & 1) !== 0;
const control = (c: VmrunView): number => word(c, Vmcb.INT_CONTROL);

/** True when `bytes` from the 64-bit address at `index` (its low 12 bits ignored) lie below the highest physical address. */
function within(c: VmrunView, index: number, bytes: number): boolean {
  const mask = c.cpu.features.physicalHighMask;
  const lo = (word(c, index) & ~0xfff) >>> 0;
  const hi = word(c, index + 1);
  const last = lo + bytes - 1;
  return (hi & ~mask) === 0 && (last <= 0xffffffff || hi >>> 0 < mask >>> 0);
}

const injected = (c: VmrunView): boolean => (word(c, Vmcb.EVENT_INJECTION) & EventInfo.VALID) !== 0;
const injectedType = (c: VmrunView): number => (word(c, Vmcb.EVENT_INJECTION) >>> EventInfo.TYPE_SHIFT) & 7;
/** Exceptions that exist: not 2 (NMI), 9, 15, 20, nor 22 to 27, 29 (#VC, of SEV-ES) and 31. */
const EXCEPTIONS = ~((1 << 2) | (1 << 9) | (1 << 15) | (1 << 20) | (0x3f << 22) | (1 << 29) | (1 << 31));
const LONG_CODE = 0x200 << 16;

/** The guest's mode is 64-bit mode, which has no BOUND. */
const in64BitMode = (c: VmrunView): boolean =>
  (word(c, Vmcb.EFER) & Efer.LME) !== 0 && (word(c, Vmcb.CR0) & Cr0.PG) !== 0 && (word(c, Vmcb.CS) & LONG_CODE) !== 0;

/** Whether the guest can have this exception (APM Vol. 2, "Event Injection"). */
function isPossible(c: VmrunView, vector: number): boolean {
  if (vector === Vector.BR && in64BitMode(c)) return false;
  if (vector === Vector.CP && !c.svm.features.cet) return false;
  return vector < 32 && ((EXCEPTIONS >>> vector) & 1) !== 0;
}

/** PAT entries may be 0, 1, 4, 5, 6, 7. */
function isPat(lo: number, hi: number): boolean {
  for (let i = 0; i < 8; i++) {
    const type = ((i < 4 ? lo : hi) >>> (8 * (i & 3))) & 0xff;
    if (type > 7 || type === 2 || type === 3) return false;
  }
  return true;
}

const aligned = (c: VmrunView, index: number): boolean => (word(c, index) & 0xfff) === 0 && within(c, index, 4096);
/** The physical table's low byte is the highest index. */
const avicOk = (c: VmrunView): boolean =>
  aligned(c, Vmcb.AVIC_BACKING_PAGE) &&
  aligned(c, Vmcb.AVIC_LOGICAL_TABLE) &&
  (word(c, Vmcb.AVIC_PHYSICAL_TABLE) & 0xe00) === 0 &&
  within(c, Vmcb.AVIC_PHYSICAL_TABLE, 4096);

/** The checks of the control area. */
export const controlRows: readonly EntryCheck<VmrunView>[] = [
  row({
    id: 'svm.c.vmrun',
    subject: 'intercepts',
    condition: 'always',
    rule: 'the VMRUN intercept is set',
    ok: (c) => intercepts(c, ExitCode.VMRUN),
    say: (c) => `the intercept word at 010h is ${hex32(c, Vmcb.INTERCEPTS + 1)}: bit 0 (VMRUN) must be 1`,
    hint: 'a processor does not nest by itself: every hypervisor intercepts VMRUN',
    mutate: (c) => set(c, Vmcb.INTERCEPTS + 1, word(c, Vmcb.INTERCEPTS + 1) & ~1),
  }),
  row({
    id: 'svm.c.asid',
    subject: 'ASID',
    condition: 'always',
    rule: 'not 0, which is the host',
    ok: (c) => word(c, Vmcb.ASID) !== 0,
    say: () => 'ASID is 0, which belongs to the host',
    mutate: (c) => set(c, Vmcb.ASID, 0),
  }),
  row({
    id: 'svm.c.iopm',
    subject: 'IOPM_BASE_PA',
    condition: 'always',
    rule: 'all 12 KiB lie below the highest physical address',
    ok: (c) => within(c, Vmcb.IOPM_BASE, 12288),
    say: (c) => `IOPM_BASE_PA is ${hex64(c, Vmcb.IOPM_BASE)}: its 12 KiB reach beyond physical addresses`,
    mutate: (c) => set(c, Vmcb.IOPM_BASE + 1, 1 << 31),
  }),
  row({
    id: 'svm.c.msrpm',
    subject: 'MSRPM_BASE_PA',
    condition: 'always',
    rule: 'all 8 KiB lie below the highest physical address',
    ok: (c) => within(c, Vmcb.MSRPM_BASE, 8192),
    say: (c) => `MSRPM_BASE_PA is ${hex64(c, Vmcb.MSRPM_BASE)}: its 8 KiB reach beyond physical addresses`,
    mutate: (c) => set(c, Vmcb.MSRPM_BASE + 1, 1 << 31),
  }),
  row({
    id: 'svm.c.injtype',
    subject: 'EVENTINJ',
    condition: 'V = 1',
    rule: 'TYPE is 0 (interrupt), 2 (NMI), 3 (exception) or 4 (software interrupt)',
    applies: injected,
    ok: (c) => ((0b11101 >>> injectedType(c)) & 1) !== 0,
    say: (c) => `EVENTINJ is ${hex64(c, Vmcb.EVENT_INJECTION)}: TYPE ${injectedType(c)} is reserved`,
    mutate: (c) => set(c, Vmcb.EVENT_INJECTION, EventInfo.VALID | (5 << EventInfo.TYPE_SHIFT)),
  }),
  row({
    id: 'svm.c.injvec',
    subject: 'EVENTINJ',
    condition: 'V = 1 and TYPE = 3',
    rule: 'the vector is that of an exception that this CPU model has, and the guest in its mode (no #BR in 64-bit mode)',
    applies: (c) => injected(c) && injectedType(c) === 3,
    ok: (c) => isPossible(c, word(c, Vmcb.EVENT_INJECTION) & EventInfo.VECTOR),
    say: (c) =>
      `EVENTINJ is ${hex64(c, Vmcb.EVENT_INJECTION)}: vector ${word(c, Vmcb.EVENT_INJECTION) & 0xff} is no exception that this guest can have`,
    hint: 'an NMI is TYPE 2, not an exception with vector 2; BOUND and its #BR do not exist in 64-bit mode',
    mutate: (c) => set(c, Vmcb.EVENT_INJECTION, EventInfo.VALID | (3 << EventInfo.TYPE_SHIFT) | 2),
  }),
  row({
    id: 'svm.c.npcap',
    subject: 'NP_ENABLE',
    condition: 'NP_ENABLE = 1',
    rule: 'the processor has nested paging',
    applies: nested,
    ok: (c) => c.svm.features.npt,
    say: () => 'NP_ENABLE is 1, but this CPU model lacks nested paging (CPUID 8000_000AH EDX[0])',
  }),
  row({
    id: 'svm.c.ncr3',
    subject: 'nCR3',
    condition: 'NP_ENABLE = 1',
    rule: 'bits above the width of physical addresses are 0',
    applies: nested,
    ok: (c) => (word(c, Vmcb.NCR3 + 1) & ~c.cpu.features.physicalHighMask) === 0,
    say: (c) => `nCR3 is ${hex64(c, Vmcb.NCR3)}, wider than physical addresses (CPUID 8000_0008H EAX[7:0])`,
    mutate: (c) => set(c, Vmcb.NCR3 + 1, 1 << 31),
  }),
  row({
    id: 'svm.c.gpat',
    subject: 'G_PAT',
    condition: 'NP_ENABLE = 1',
    rule: 'each of the 8 bytes is 0, 1, 4, 5, 6 or 7',
    applies: nested,
    ok: (c) => isPat(word(c, Vmcb.G_PAT), word(c, Vmcb.G_PAT + 1)),
    say: (c) => `G_PAT is ${hex64(c, Vmcb.G_PAT)}: a byte is not a memory type`,
    hint: 'G_PAT is 0007040600070406h after reset',
    mutate: (c) => set(c, Vmcb.G_PAT, 2),
  }),
  row({
    id: 'svm.c.hostpg',
    subject: 'CR0 of the host',
    condition: 'NP_ENABLE = 1',
    rule: 'PG is 1',
    applies: nested,
    ok: (c) => (c.cpu.w[CPU_CR0]! & Cr0.PG) !== 0,
    say: () => 'NP_ENABLE is 1, but the host runs without paging (CR0.PG = 0), so its paging mode says nothing about nested tables',
    mutate: (c) => {
      c.cpu.w[CPU_CR0] = c.cpu.w[CPU_CR0]! & ~Cr0.PG;
    },
  }),
  row({
    id: 'svm.c.vnmi',
    subject: 'V_NMI_ENABLE',
    condition: 'V_NMI_ENABLE = 1',
    rule: 'the NMI intercept is set',
    applies: (c) => c.svm.features.vnmi && (control(c) & IntControl.V_NMI_ENABLE) !== 0,
    ok: (c) => intercepts(c, ExitCode.NMI),
    say: () => 'virtual NMIs are enabled (060h bit 26), but physical NMIs are not intercepted (00Ch bit 1)',
    mutate: (c) => {
      set(c, Vmcb.INT_CONTROL, control(c) | IntControl.V_NMI_ENABLE);
      set(c, Vmcb.INTERCEPTS, word(c, Vmcb.INTERCEPTS) & ~2);
    },
  }),
  row({
    id: 'svm.c.avic',
    subject: 'AVIC backing page, logical and physical tables',
    condition: 'AVIC is enabled',
    rule: 'each is a page below the highest physical address',
    applies: (c) => c.svm.features.avic && (control(c) & IntControl.AVIC_ENABLE) !== 0,
    ok: avicOk,
    say: (c) =>
      `AVIC backing page ${hex64(c, Vmcb.AVIC_BACKING_PAGE)}, logical table ${hex64(c, Vmcb.AVIC_LOGICAL_TABLE)}, physical table ${hex64(c, Vmcb.AVIC_PHYSICAL_TABLE)}: each must be an aligned page of physical memory`,
    mutate: (c) => {
      set(c, Vmcb.INT_CONTROL, control(c) | IntControl.AVIC_ENABLE);
      set(c, Vmcb.AVIC_BACKING_PAGE, 0x10);
    },
  }),
  row({
    id: 'svm.c.x2avic',
    subject: 'x2AVIC enable',
    condition: 'x2AVIC bit = 1',
    rule: 'the AVIC bit is 1',
    applies: (c) => c.svm.features.x2avic && (control(c) & IntControl.X2AVIC_ENABLE) !== 0,
    ok: (c) => (control(c) & IntControl.AVIC_ENABLE) !== 0,
    say: () => 'x2AVIC is enabled (060h bit 30) without AVIC (bit 31)',
    mutate: (c) => set(c, Vmcb.INT_CONTROL, (control(c) & ~IntControl.AVIC_ENABLE) | IntControl.X2AVIC_ENABLE),
  }),
  row({
    id: 'svm.c.sev',
    subject: 'SEV-ES and SEV-SNP controls',
    condition: 'the processor has SEV',
    rule: 'the VMSA is valid and the features agree',
    status: 'not offered',
    applies: () => false,
    ok: () => true,
    say: () => 'SEV is not offered',
  }),
];
