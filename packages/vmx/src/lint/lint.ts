import type { EntryContext } from '../checks/context.js';
import { Exit, Pin, Proc1, Proc2 } from '../controls/controls.js';
import { failedChecks } from '../explain/explain.js';
import { F } from '../fields/layout.js';
import { isHostRipMapped, isMemory, walkToGuestRip } from './walks.js';

/** A remark on a VMCS: a failing check, or something that passes the checks and still looks wrong. */
export interface Remark {
  /** Id of the check or of the warning. */
  readonly id: string;
  readonly severity: 'error' | 'warning';
  readonly lines: readonly string[];
}

/** A thing that no check forbids and that hypervisors get wrong. */
interface Warning {
  readonly id: string;
  readonly looksWrong: (c: EntryContext) => boolean;
  readonly text: string;
}

const isRam = (c: EntryContext, lo: number, hi: number): boolean => isMemory(c, (lo >>> 0) + (hi >>> 0) * 0x1_0000_0000);
const usesEpt = (c: EntryContext): boolean => (c.proc2 & 2) !== 0;

/** Whether none of the 512 entries of a table is present (any of bits 2:0 for EPT, bit 0 else). */
function isEmptyTable(c: EntryContext, lo: number, hi: number, mask: number): boolean {
  for (let i = 0; i < 512; i++) if ((c.physicalWord((lo & ~0xfff) + 8 * i, hi) & mask) !== 0) return false;
  return true;
}

/** What a bitmap or page that a control points to should be: memory. */
const outsideRam = (group: 'proc1' | 'proc2', control: number, field: number) => (c: EntryContext) =>
  (c[group] & control) !== 0 && !isRam(c, c.lo(field), c.hi(field));

const warnings: readonly Warning[] = [
  {
    id: 'lint.link.zero',
    looksWrong: (c) => c.lo(F.VMCS_LINK_POINTER) === 0 && c.hi(F.VMCS_LINK_POINTER) === 0,
    text: 'the VMCS link pointer is 0; write FFFFFFFF_FFFFFFFFH unless you use VMCS shadowing (both halves: 32-bit code needs two VMWRITEs)',
  },
  {
    id: 'lint.host.size',
    looksWrong: (c) => c.longMode && (c.exit & Exit.HOST_ADDRESS_SPACE_SIZE) === 0,
    text: 'the VMCS is written by 64-bit code, but “host address-space size” (VM-exit control bit 9) is 0',
  },
  {
    id: 'lint.host.rip',
    looksWrong: (c) => !isHostRipMapped(c),
    text: 'host RIP is in a page that the tables at host CR3 do not map: the first VM exit would end in a triple fault',
  },
  { id: 'lint.host.rsp', looksWrong: (c) => (c.lo(F.HOST_RSP) & 7) !== 0, text: 'host RSP is not a multiple of 8' },
  {
    id: 'lint.host.idt',
    looksWrong: (c) => c.lo(F.HOST_IDTR_BASE) === 0 && c.hi(F.HOST_IDTR_BASE) === 0,
    text: 'host IDTR base is 0: the first interrupt after a VM exit has no handler',
  },
  {
    id: 'lint.host.gdt',
    looksWrong: (c) => c.lo(F.HOST_GDTR_BASE) === 0 && c.hi(F.HOST_GDTR_BASE) === 0,
    text: 'host GDTR base is 0: the next segment load after a VM exit reads its descriptor there',
  },
  {
    id: 'lint.cr0.shadow',
    looksWrong: (c) => ((c.lo(F.CR0_READ_SHADOW) ^ c.lo(F.GUEST_CR0)) & c.lo(F.CR0_GUEST_HOST_MASK) & 1) !== 0,
    text: 'the guest/host mask owns CR0.PE and the read shadow disagrees with guest CR0: the guest reads another mode than it runs in',
  },
  {
    id: 'lint.cr4.vmxe',
    looksWrong: (c) => (c.lo(F.CR4_GUEST_HOST_MASK) & 0x2000) === 0,
    text: 'the guest/host mask does not own CR4.VMXE: the guest sees VMXE = 1 and gets #GP when it writes CR4 without it',
  },
  { id: 'lint.msrbitmap.ram', looksWrong: outsideRam('proc1', Proc1.USE_MSR_BITMAPS, F.MSR_BITMAP), text: 'the MSR-bitmap address is not in RAM' },
  {
    id: 'lint.iobitmap.ram',
    looksWrong: (c) => outsideRam('proc1', Proc1.USE_IO_BITMAPS, F.IO_BITMAP_A)(c) || outsideRam('proc1', Proc1.USE_IO_BITMAPS, F.IO_BITMAP_B)(c),
    text: 'an I/O-bitmap address is not in RAM',
  },
  {
    id: 'lint.vapic.ram',
    looksWrong: outsideRam('proc1', Proc1.USE_TPR_SHADOW, F.VIRTUAL_APIC_ADDRESS),
    text: 'the virtual-APIC address is not in RAM',
  },
  {
    id: 'lint.eptp.empty',
    looksWrong: (c) =>
      usesEpt(c) && (!isRam(c, c.lo(F.EPT_POINTER), c.hi(F.EPT_POINTER)) || isEmptyTable(c, c.lo(F.EPT_POINTER), c.hi(F.EPT_POINTER), 7)),
    text: 'the EPT root has no present entry: the first guest access is an EPT violation',
  },
  {
    id: 'lint.eptp.uc',
    looksWrong: (c) => usesEpt(c) && (c.lo(F.EPT_POINTER) & 7) === 0,
    text: 'EPTP[2:0] is 0: the EPT paging structures are read uncached; 6 (WB) is meant nearly always',
  },
  {
    id: 'lint.ept.code.uc',
    looksWrong: (c) => {
      const found = walkToGuestRip(c);
      return typeof found !== 'string' && found.type === 0;
    },
    text: 'the EPT entry of the page at guest RIP has memory type 0 (UC): guest code would run uncached; 6 (WB) is meant nearly always',
  },
  {
    id: 'lint.guest.rip',
    looksWrong: (c) => walkToGuestRip(c) === 'absent' && (c.lo(F.EXCEPTION_BITMAP) & (1 << 14)) === 0,
    text: 'the tables at guest CR3 do not map guest RIP, and #PF does not exit: the guest would begin with a page fault, and a triple fault without an IDT',
  },
  {
    id: 'lint.apic.ram',
    looksWrong: outsideRam('proc2', Proc2.VIRTUALIZE_APIC_ACCESSES, F.APIC_ACCESS_ADDRESS),
    text: 'the APIC-access address is not in RAM: accesses that are not virtualized as such reach a device or nothing',
  },
  {
    id: 'lint.host.stack',
    looksWrong: (c) => c.lo(F.HOST_RSP) === 0 && c.hi(F.HOST_RSP) === 0,
    text: 'host RSP is 0: the first push after a VM exit goes to the end of the address space',
  },
  {
    id: 'lint.interrupts',
    looksWrong: (c) => (c.exit & Exit.ACKNOWLEDGE_INTERRUPT) !== 0 && (c.pin & Pin.EXTERNAL_INTERRUPT_EXITING) === 0,
    text: '“acknowledge interrupt on exit” is 1, but external interrupts do not exit: they go through the IDT of the guest',
  },
];

/** The ids of the warnings, for documents and tests. */
export const warningIds: readonly string[] = warnings.map((warning) => warning.id);

/** Everything that is wrong or looks wrong with the VMCS of a context, at any time: no entry is needed, and nothing changes. */
export function lint(c: EntryContext): Remark[] {
  const errors = failedChecks(c)
    .filter((found) => found.check.group !== 'pre')
    .map((found): Remark => ({ id: found.check.id, severity: 'error', lines: found.lines }));
  const remarks = warnings
    .filter((warning) => warning.looksWrong(c))
    .map((warning): Remark => ({ id: warning.id, severity: 'warning', lines: [`${warning.id}: ${warning.text}`] }));
  return [...errors, ...remarks];
}
