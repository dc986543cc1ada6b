/**
 * What generated code has to know to carry out RDMSR and WRMSR of registers by itself that are nothing but words of the vCPU state: a table of `SLOTS` slots. A
 * register whose slot another one has is left to the full implementation.
 */
export const MsrTable = {
  SLOTS: 128,
  SLOT_BYTES: 32,
  /** u32: the register that the slot is about. */
  INDEX: 0,
  /** u16: offset in the vCPU state of what RDMSR reads; 0: left to the full implementation. */
  READ: 4,
  /** u16: likewise for WRMSR. */
  WRITE: 6,
  /** u32: the bit from which on upward all bits must be alike: that of canonical addresses, or 63. */
  TOP: 8,
  /** i64: the bits that may be set. */
  MASK: 16,
  /** i32: bits of the hypervisor's bitmap that say whether a guest's RDMSR and WRMSR are intercepted; negative: always. */
  READ_BIT: 24,
  WRITE_BIT: 28,
} as const;

/** Slot of a register: those that operating systems and hypervisors use all day have one each. */
export const msrSlot = (index: number): number => (index ^ (index >>> 1)) & (MsrTable.SLOTS - 1);
