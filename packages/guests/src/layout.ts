/**
 * Guest-physical addresses that all our guests use. Every level sees the same: a hypervisor's guest has the hypervisor's own layout, moved by `CHILD_BASE`.
 */
export const Layout = {
  /** Where the image is loaded: multiboot header, code, data. */
  IMAGE: 0x100000,
  /** Top of the stack, which grows down towards the image's end. */
  STACK: 0x118000,
  /** Page tables of the guest itself: the first gigabyte onto itself, with 2-MiB pages. */
  PML4: 0x118000,
  PDPT: 0x119000,
  PD: 0x11a000,
  /** Control block (VMCB or VMCS) of the guest of this level. */
  CONTROL_01: 0x120000,
  /** Control block for the guest's own guest, which this level runs on behalf of it. */
  CONTROL_02: 0x121000,
  /** Host save area (SVM) or VMXON region. */
  HOST_AREA: 0x122000,
  /** NPT or EPT of the guest: three tables. */
  NESTED_01: 0x123000,
  /** NPT or EPT of the guest's guest: this level's and the guest's tables composed. */
  NESTED_02: 0x126000,
  /** I/O permission map: three pages. */
  IO_MAP: 0x130000,
  /** MSR permission map: two pages. */
  MSR_MAP: 0x134000,
  /** Interrupt descriptors. */
  IDT: 0x136000,
  /** General registers of the guest, by their number, 8 bytes each. */
  REGISTERS: 0x140000,
  /** Counters of exits, 8 bytes each. */
  COUNTERS: 0x140100,
  VARIABLES: 0x140200,
  /** A page that the kernel maps elsewhere. */
  SCRATCH: 0x141000,
  END: 0x142000,
  /** Where a guest's memory begins in its hypervisor's. */
  CHILD_BASE: 0x400000,
} as const;

/** Bytes of RAM that so many levels need. */
export const ramBytes = (levels: number): number => (levels + 1) * Layout.CHILD_BASE;

/** Variables of a level. */
export const Variable = {
  /** 1: nobody is below but the machine. */
  LEVEL: Layout.VARIABLES,
  STARTS: Layout.VARIABLES + 8,
  /** 1 while the guest's own guest runs. */
  NESTED: Layout.VARIABLES + 16,
  /** Control block that is entered next. */
  CURRENT: Layout.VARIABLES + 24,
  /** Control block that the guest keeps for its guest, as this level reaches it. */
  GUEST_BLOCK: Layout.VARIABLES + 32,
  /** Nested root that NESTED_02 was composed from. */
  GUEST_ROOT: Layout.VARIABLES + 40,
  /** VMX: whether CONTROL_01 and CONTROL_02 have been launched. */
  LAUNCHED: Layout.VARIABLES + 48,
  LAUNCHED_02: Layout.VARIABLES + 56,
  /** Timer interrupts that this level took; 1 while one of them has still to be handed to the guest. */
  TICKS: Layout.VARIABLES + 64,
  PENDING: Layout.VARIABLES + 72,
  /** SVM: the guest's global interrupt flag. VMX: 1 while an exit is asked for when the guest can take interrupts. */
  GATE: Layout.VARIABLES + 80,
} as const;
