import type { EntryCheck } from '@nestvm/cpu';
import { CPL, CR0, EFER, GPR, MODE } from '@nestvm/cpu/extension';
import { Cr0, Cr4, Efer, Mode } from '@nestvm/isa';
import { HOST_CR0, HOST_CR3, HOST_CR4, HOST_EFER, HSAVE } from '../words.js';
import type { VmrunView } from './view.js';

const hostWord = (c: VmrunView, word: number): string => `0x${(c.cpu.w[word]! >>> 0).toString(16)}`;
const hsave = (c: VmrunView): boolean => (c.cpu.w[HSAVE]! | c.cpu.w[HSAVE + 1]!) !== 0;

/** What VMRUN demands of the processor before it looks into the VMCB: faults, in their order. */
export const instructionRows: readonly EntryCheck<VmrunView>[] = [
  {
    id: 'svm.svme',
    title: 'APM Vol. 2, "VMRUN Instruction"; APM Vol. 3, VMRUN',
    subject: 'EFER.SVME, CR0.PE',
    condition: 'always',
    rule: 'SVME is 1 and the processor is in protected mode, not virtual-8086 mode',
    result: '#UD',
    status: 'checked',
    ok: (c) => (c.cpu.w[EFER]! & Efer.SVME) !== 0 && (c.cpu.w[MODE]! & Mode.PROTECTED) !== 0,
    say: (c) => `EFER is ${hostWord(c, EFER)} and CR0 is ${hostWord(c, CR0)}: EFER.SVME (bit 12) and CR0.PE must be 1`,
    hint: 'set EFER.SVME after a look at VM_CR.SVMDIS (MSR C001_0114H bit 4)',
    mutate: (c) => {
      c.cpu.w[EFER] = c.cpu.w[EFER]! & ~Efer.SVME;
    },
  },
  {
    id: 'svm.cpl',
    title: 'APM Vol. 3, VMRUN',
    subject: 'CPL',
    condition: 'always',
    rule: 'CPL is 0',
    result: '#GP(0)',
    status: 'checked',
    ok: (c) => c.cpu.w[CPL] === 0,
    say: (c) => `CPL is ${c.cpu.w[CPL]}`,
    mutate: (c) => {
      c.cpu.w[CPL] = 3;
    },
  },
  {
    id: 'svm.rax',
    title: 'APM Vol. 3, VMRUN',
    subject: 'rAX',
    condition: 'always',
    rule: 'a 4-KiB-aligned physical address of memory',
    result: '#GP(0)',
    status: 'checked',
    ok: (c) => c.svm.page(c.cpu.w[GPR]!, c.cpu.w[GPR + 1]!) >= 0,
    say: (c) =>
      `rAX is 0x${(c.cpu.w[GPR + 1]! >>> 0).toString(16)}_${(c.cpu.w[GPR]! >>> 0).toString(16).padStart(8, '0')}: not the address of a page of memory`,
    hint: 'rAX holds the physical address of the VMCB, not the linear one',
    mutate: (c) => {
      c.cpu.w[GPR] = c.cpu.w[GPR]! | 8;
    },
  },
  {
    id: 'svm.hsave',
    title: 'APM Vol. 2, "VM_HSAVE_PA MSR"',
    subject: 'VM_HSAVE_PA',
    condition: 'always',
    rule: 'has been written',
    result: '#GP(0)',
    status: 'checked',
    ok: hsave,
    say: () => 'VM_HSAVE_PA (MSR C001_0117H) is 0: the host has given no page for its own state',
    mutate: (c) => {
      c.cpu.w[HSAVE] = 0;
      c.cpu.w[HSAVE + 1] = 0;
    },
  },
];

const paeHost = (c: VmrunView): boolean =>
  (c.cpu.w[HOST_CR0]! & Cr0.PG) !== 0 && (c.cpu.w[HOST_CR4]! & Cr4.PAE) !== 0 && (c.cpu.w[HOST_EFER]! & Efer.LMA) === 0;

/** What #VMEXIT demands of the host. */
export const exitRows: readonly EntryCheck<VmrunView>[] = [
  {
    id: 'svm.exit.pdpte',
    title: 'APM Vol. 2, "#VMEXIT"',
    subject: 'page-directory pointers at CR3 of the host',
    condition: '#VMEXIT to a host with PAE paging',
    rule: 'reserved bits of present entries are 0',
    result: 'shutdown',
    status: 'checked',
    applies: paeHost,
    ok: (c) => {
      const at = c.svm.memory.arenaOffsetOf((c.cpu.w[HOST_CR3]! & ~0x1f) >>> 0) >>> 2;
      for (let i = 0; i < 4; i++) if ((c.i32[at + 2 * i]! & 1) !== 0 && (c.i32[at + 2 * i]! & 0x1e6) !== 0) return false;
      return true;
    },
    say: (c) => `a page-directory pointer at CR3 of the host (${hostWord(c, HOST_CR3)}) is present with reserved bits set`,
    mutate: (c) => {
      c.cpu.w[HOST_CR0] = Cr0.PG | Cr0.PE;
      c.cpu.w[HOST_CR4] = Cr4.PAE;
      c.cpu.w[HOST_EFER] = 0;
      c.i32[c.svm.memory.arenaOffsetOf((c.cpu.w[HOST_CR3]! & ~0x1f) >>> 0) >>> 2] = 0x1e7;
    },
  },
];
