import { hex64, type VmrunView } from '../checks/view.js';
import { ExitCode } from '../exits/codes.js';
import { IntControl, NestedControl, TlbControl, Vmcb } from '../vmcb/layout.js';

interface Warning {
  readonly applies: (c: VmrunView) => boolean;
  readonly say: (c: VmrunView) => string;
}

const word = (c: VmrunView, index: number): number => c.i32[c.v + index]!;
const intercepts = (c: VmrunView, code: number): boolean => ((word(c, Vmcb.INTERCEPTS + (code >>> 5) - 3) >>> (code & 31)) & 1) !== 0;
const nested = (c: VmrunView): boolean => (word(c, Vmcb.NESTED_CONTROL) & NestedControl.NP_ENABLE) !== 0;
const address = (c: VmrunView, index: number): number => (word(c, index + 1) >>> 0) * 4294967296 + ((word(c, index) & ~0xfff) >>> 0);

/** True when the first table of nested paging has no present entry. */
function isRootEmpty(c: VmrunView): boolean {
  const at = c.svm.memory.arenaOffsetOf(address(c, Vmcb.NCR3));
  if (at < 0) return false;
  for (let i = 0; i < 1024; i += 2) if ((c.i32[(at >>> 2) + i]! & 1) !== 0) return false;
  return true;
}

const WARNINGS: readonly Warning[] = [
  {
    applies: (c) => nested(c) && c.svm.memory.arenaOffsetOf(address(c, Vmcb.NCR3)) < 0,
    say: (c) => `nCR3 (${hex64(c, Vmcb.NCR3)}) is not memory: every access of the guest will be a nested page fault or read a device`,
  },
  {
    applies: (c) => nested(c) && isRootEmpty(c),
    say: (c) => `the nested page table at ${hex64(c, Vmcb.NCR3)} maps nothing: the first instruction will be a nested page fault`,
  },
  {
    applies: (c) => !nested(c) && !intercepts(c, ExitCode.INVLPG),
    say: () => 'without nested paging (shadow tables) INVLPG is usually intercepted; here the guest invalidates without the host knowing',
  },
  {
    applies: (c) => !nested(c) && (word(c, Vmcb.EXCEPTION_INTERCEPTS) & (1 << 14)) === 0,
    say: () => 'without nested paging #PF is usually intercepted; here the guest sees faults of the shadow tables',
  },
  {
    applies: (c) => intercepts(c, ExitCode.INTR) && (word(c, Vmcb.INT_CONTROL) & IntControl.V_INTR_MASKING) === 0,
    say: () => 'interrupts are intercepted without V_INTR_MASKING: a guest that clears RFLAGS.IF keeps the host from its interrupts',
  },
  { applies: (c) => !intercepts(c, ExitCode.INTR), say: () => 'physical interrupts are not intercepted: they go through the IDT of the guest' },
  { applies: (c) => !intercepts(c, ExitCode.SHUTDOWN), say: () => 'shutdown is not intercepted: a triple fault of the guest stops the processor' },
  {
    applies: (c) => intercepts(c, ExitCode.IOIO) && c.svm.memory.arenaOffsetOf(address(c, Vmcb.IOPM_BASE)) < 0,
    say: (c) => `the I/O permission map (${hex64(c, Vmcb.IOPM_BASE)}) is not memory`,
  },
  {
    applies: (c) => intercepts(c, ExitCode.MSR) && c.svm.memory.arenaOffsetOf(address(c, Vmcb.MSRPM_BASE)) < 0,
    say: (c) => `the MSR permission map (${hex64(c, Vmcb.MSRPM_BASE)}) is not memory`,
  },
  { applies: (c) => !intercepts(c, ExitCode.IOIO), say: () => 'port I/O is not intercepted: the guest reaches the devices of the host' },
  { applies: (c) => !intercepts(c, ExitCode.MSR), say: () => 'MSR accesses are not intercepted: the guest reads and writes the MSRs of the host' },
  {
    applies: (c) => {
      const control = word(c, Vmcb.TLB_CONTROL) & 0xff;
      return control !== TlbControl.NOTHING && control !== TlbControl.ALL && control !== TlbControl.GUEST && control !== TlbControl.GUEST_NON_GLOBAL;
    },
    say: (c) => `TLB_CONTROL is ${word(c, Vmcb.TLB_CONTROL) & 0xff}, which is reserved: nothing is flushed`,
  },
];

/** What VMRUN allows but few mean, a line each. */
export const vmcbWarnings = (c: VmrunView): string[] => WARNINGS.filter(({ applies }) => applies(c)).map(({ say }) => `warning: ${say(c)}`);
