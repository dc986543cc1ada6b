/**
 * Where things are in a VMCB, as indices of 32-bit words from its start (APM Vol. 2, "Layout of VMCB"). A 64-bit field has its low half at X and its high half at X + 1.
 */
export const Vmcb = {
  /** Low 16 bits: intercept reads of CR0-CR15; high: writes. */
  CR_INTERCEPTS: 0x000 >> 2,
  DR_INTERCEPTS: 0x004 >> 2,
  EXCEPTION_INTERCEPTS: 0x008 >> 2,
  /** Intercepts of exit codes 60h-7Fh, 80h-9Fh and A0h-BFh, a bit each. */
  INTERCEPTS: 0x00c >> 2,
  /** Low 16 bits: PAUSE filter threshold; high: PAUSE filter count. */
  PAUSE_FILTER: 0x03c >> 2,
  IOPM_BASE: 0x040 >> 2,
  MSRPM_BASE: 0x048 >> 2,
  TSC_OFFSET: 0x050 >> 2,
  ASID: 0x058 >> 2,
  TLB_CONTROL: 0x05c >> 2,
  /** See {@link IntControl}; the virtual interrupt's vector is in the low byte of the next word. */
  INT_CONTROL: 0x060 >> 2,
  INT_VECTOR: 0x064 >> 2,
  /** Bit 0: interrupt shadow; bit 1: guest interrupt mask. */
  INT_STATE: 0x068 >> 2,
  EXIT_CODE: 0x070 >> 2,
  EXIT_INFO1: 0x078 >> 2,
  EXIT_INFO2: 0x080 >> 2,
  EXIT_INT_INFO: 0x088 >> 2,
  /** See {@link NestedControl}. */
  NESTED_CONTROL: 0x090 >> 2,
  AVIC_BAR: 0x098 >> 2,
  EVENT_INJECTION: 0x0a8 >> 2,
  NCR3: 0x0b0 >> 2,
  /** Bit 0: LBR virtualization; bit 1: virtual VMLOAD and VMSAVE. */
  VIRTUAL_EXTENSIONS: 0x0b8 >> 2,
  CLEAN_BITS: 0x0c0 >> 2,
  NEXT_RIP: 0x0c8 >> 2,
  /** A length byte and 15 bytes of the instruction. */
  INSTRUCTION_BYTES: 0x0d0 >> 2,
  AVIC_BACKING_PAGE: 0x0e0 >> 2,
  AVIC_LOGICAL_TABLE: 0x0f0 >> 2,
  AVIC_PHYSICAL_TABLE: 0x0f8 >> 2,

  ES: 0x400 >> 2,
  CS: 0x410 >> 2,
  SS: 0x420 >> 2,
  DS: 0x430 >> 2,
  FS: 0x440 >> 2,
  GS: 0x450 >> 2,
  GDTR: 0x460 >> 2,
  LDTR: 0x470 >> 2,
  IDTR: 0x480 >> 2,
  TR: 0x490 >> 2,
  /** CPL is the byte at 4CBh: bits 31:24 of this word. */
  CPL_WORD: 0x4c8 >> 2,
  EFER: 0x4d0 >> 2,
  CR4: 0x548 >> 2,
  CR3: 0x550 >> 2,
  CR0: 0x558 >> 2,
  DR7: 0x560 >> 2,
  DR6: 0x568 >> 2,
  RFLAGS: 0x570 >> 2,
  RIP: 0x578 >> 2,
  RSP: 0x5d8 >> 2,
  S_CET: 0x5e0 >> 2,
  SSP: 0x5e8 >> 2,
  INTERRUPT_SSP_TABLE: 0x5f0 >> 2,
  RAX: 0x5f8 >> 2,
  STAR: 0x600 >> 2,
  LSTAR: 0x608 >> 2,
  CSTAR: 0x610 >> 2,
  SFMASK: 0x618 >> 2,
  KERNEL_GS_BASE: 0x620 >> 2,
  SYSENTER_CS: 0x628 >> 2,
  SYSENTER_ESP: 0x630 >> 2,
  SYSENTER_EIP: 0x638 >> 2,
  CR2: 0x640 >> 2,
  G_PAT: 0x668 >> 2,
  DEBUGCTL: 0x670 >> 2,
  BR_FROM: 0x678 >> 2,
  BR_TO: 0x680 >> 2,
  LAST_EXCEPTION_FROM: 0x688 >> 2,
  LAST_EXCEPTION_TO: 0x690 >> 2,
} as const;

/** Bits of the virtual-interrupt control word at 060h. */
export const IntControl = {
  V_TPR: 0xff,
  V_IRQ: 1 << 8,
  V_GIF: 1 << 9,
  V_NMI: 1 << 11,
  V_NMI_MASK: 1 << 12,
  V_PRIORITY_SHIFT: 16,
  V_IGNORE_TPR: 1 << 20,
  V_INTR_MASKING: 1 << 24,
  V_GIF_ENABLE: 1 << 25,
  V_NMI_ENABLE: 1 << 26,
  X2AVIC_ENABLE: 1 << 30,
  AVIC_ENABLE: 1 << 31,
} as const;

/** Bits of the word at 090h. */
export const NestedControl = { NP_ENABLE: 1 << 0, SEV: 1 << 1, SEV_ES: 1 << 2, INVLPGB_ENABLE: 1 << 7 } as const;

/** Bits of the word at 0B8h. */
export const VirtualExtension = { LBR: 1 << 0, VMLOAD_VMSAVE: 1 << 1 } as const;

/** Values of TLB_CONTROL. */
export const TlbControl = { NOTHING: 0, ALL: 1, GUEST: 3, GUEST_NON_GLOBAL: 7 } as const;

/** Fields of EVENTINJ and EXITINTINFO, low word. */
export const EventInfo = { VECTOR: 0xff, TYPE_SHIFT: 8, TYPE: 7 << 8, ERROR_VALID: 1 << 11, VALID: 1 << 31 } as const;

/** Bytes of a VMCB. */
export const VMCB_BYTES = 4096;
