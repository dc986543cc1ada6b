/** Offsets in the VMCB (APM Vol. 2, "Layout of VMCB"). */
export const Vmcb = {
  INTERCEPTS_CR: 0x000,
  INTERCEPTS_1: 0x00c,
  INTERCEPTS_2: 0x010,
  IOPM: 0x040,
  MSRPM: 0x048,
  ASID: 0x058,
  TLB_CONTROL: 0x05c,
  VIRTUAL_INTERRUPT: 0x060,
  SHADOW: 0x068,
  EXIT_CODE: 0x070,
  EXIT_INFO_1: 0x078,
  NESTED_PAGING: 0x090,
  EVENT_INJECTION: 0x0a8,
  NESTED_CR3: 0x0b0,
  CLEAN: 0x0c0,
  NEXT_RIP: 0x0c8,
  SAVE: 0x400,
  ES: 0x400,
  CS: 0x410,
  SS: 0x420,
  DS: 0x430,
  FS: 0x440,
  GDTR: 0x460,
  LDTR: 0x470,
  IDTR: 0x480,
  TR: 0x490,
  CPL: 0x4cb,
  EFER: 0x4d0,
  CR4: 0x548,
  CR3: 0x550,
  CR0: 0x558,
  DR7: 0x560,
  DR6: 0x568,
  RFLAGS: 0x570,
  RIP: 0x578,
  RSP: 0x5d8,
  RAX: 0x5f8,
  STAR: 0x600,
  CR2: 0x640,
  PAT: 0x668,
} as const;

/** Exit codes (APM Vol. 2, Appendix C). */
export const Exit = {
  CR3_READ: 0x03,
  CR3_WRITE: 0x13,
  INTR: 0x60,
  CPUID: 0x72,
  HLT: 0x78,
  IOIO: 0x7b,
  MSR: 0x7c,
  VMRUN: 0x80,
  VMMCALL: 0x81,
  VMLOAD: 0x82,
  VMSAVE: 0x83,
  STGI: 0x84,
  CLGI: 0x85,
} as const;

/** INTR, CPUID, HLT, IOIO, MSR, shutdown; VMRUN, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT. */
export const INTERCEPTS_1 = 1 | (1 << 18) | (1 << 24) | (1 << 27) | (1 << 28) | 0x80000000;
export const INTERCEPTS_2 = 0x7f;
/** Reads and writes of CR3. */
export const INTERCEPT_CR3 = (1 << 3) | (1 << 19);
/** V_IRQ, V_IGN_TPR, and V_INTR_MASKING: our own interrupt flag, not the guest's, decides about the machine's interrupts. */
export const V_IRQ = 1 << 8;
export const V_IGNORE_TPR = 1 << 20;
export const V_MASKING = 1 << 24;

/** Stores a constant into the VMCB at rbx. */
export const store = (size: string, offset: number, value: number | string): string => `mov ${size} ptr [rbx+${offset}], ${value}`;
