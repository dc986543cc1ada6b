import { Layout } from './layout.js';

/** VMCS fields that our hypervisor uses (SDM Vol. 3, Appendix B, "Field Encoding in VMCS"). */
export const Field = {
  VPID: 0x0000,
  MSR_BITMAP: 0x2004,
  EPT_POINTER: 0x201a,
  GUEST_PHYSICAL: 0x2400,
  LINK_POINTER: 0x2800,
  INTERRUPTIBILITY: 0x4824,
  ACTIVITY: 0x4826,
  PIN_CONTROLS: 0x4000,
  PROCESSOR_CONTROLS: 0x4002,
  EXIT_CONTROLS: 0x400c,
  ENTRY_CONTROLS: 0x4012,
  ENTRY_INTERRUPTION: 0x4016,
  ENTRY_ERROR: 0x4018,
  ENTRY_LENGTH: 0x401a,
  PROCESSOR_CONTROLS_2: 0x401e,
  INSTRUCTION_ERROR: 0x4400,
  EXIT_REASON: 0x4402,
  EXIT_INTERRUPTION: 0x4404,
  EXIT_ERROR: 0x4406,
  VECTORING: 0x4408,
  VECTORING_ERROR: 0x440a,
  EXIT_LENGTH: 0x440c,
  INSTRUCTION_INFO: 0x440e,
  EXIT_QUALIFICATION: 0x6400,
  GUEST_LINEAR: 0x640a,
  GUEST_CR0: 0x6800,
  GUEST_CR3: 0x6802,
  GUEST_CR4: 0x6804,
  GUEST_RSP: 0x681c,
  GUEST_RIP: 0x681e,
  GUEST_RFLAGS: 0x6820,
  HOST_CR0: 0x6c00,
  HOST_CR3: 0x6c02,
  HOST_CR4: 0x6c04,
  HOST_RSP: 0x6c14,
  HOST_RIP: 0x6c16,
} as const;

/** A field, and what it holds when a guest begins; without it, something else sets it. */
interface FieldRow {
  readonly field: number;
  readonly initial?: number | string;
}

const CODE = 0xa09b;
const DATA = 0xc093;
const TSS = 0x8b;
const UNUSABLE = 0x10000;
const LIMIT = 0xffffffff;
/** LMA, LME. */
const EFER = 0x500;
const PAT = '0x0007040600070406';
const TSS_ADDRESS = 0x140300;

const series = (first: number, initials: readonly (number | string)[]): FieldRow[] =>
  initials.map((initial, i) => ({ field: first + 2 * i, initial }));

/** The guest's state: what VM entry loads and VM exit saves. */
export const guestFields: readonly FieldRow[] = [
  // ES CS SS DS FS GS LDTR TR
  ...series(0x800, [0x10, 0x08, 0x10, 0x10, 0, 0, 0, 0x18]),
  { field: Field.LINK_POINTER, initial: '0xffffffffffffffff' },
  { field: 0x2802, initial: 0 },
  { field: 0x2806, initial: EFER },
  // … GDTR IDTR
  ...series(0x4800, [LIMIT, LIMIT, LIMIT, LIMIT, 0, 0, 0, 0x67, 39, 0]),
  ...series(0x4814, [DATA, CODE, DATA, DATA, UNUSABLE, UNUSABLE, UNUSABLE, TSS]),
  ...series(0x4824, [0, 0]),
  { field: 0x482a, initial: 0 },
  { field: Field.GUEST_CR0 },
  { field: Field.GUEST_CR3 },
  { field: Field.GUEST_CR4 },
  ...series(0x6806, [0, 0, 0, 0, 0, 0, 0, TSS_ADDRESS, 'gdt', 0]),
  // DR7, RSP, RIP, RFLAGS, pending debug exceptions, SYSENTER_ESP, SYSENTER_EIP
  ...series(0x681a, [0x400, 0, 'start', 2, 0, 0, 0]),
];

/** Our own state that VM exit loads, and the constant controls. */
export const hostFields: readonly FieldRow[] = [
  ...series(0xc00, [0x10, 0x08, 0x10, 0x10, 0, 0, 0x18]),
  { field: 0x2c00, initial: PAT },
  { field: 0x2c02, initial: EFER },
  { field: 0x4c00, initial: 0 },
  // FS GS TR GDTR IDTR, SYSENTER_ESP, SYSENTER_EIP
  ...series(0x6c06, [0, 0, TSS_ADDRESS, 'gdt', Layout.IDT, 0, 0]),
  { field: Field.HOST_RIP, initial: 'vmx_exit' },
  { field: Field.MSR_BITMAP, initial: Layout.MSR_MAP },
];

/** What an exit tells: copied to the guest when its own guest exits. */
export const exitFields: readonly number[] = [
  Field.GUEST_PHYSICAL,
  Field.EXIT_REASON,
  Field.EXIT_INTERRUPTION,
  Field.EXIT_ERROR,
  Field.VECTORING,
  Field.VECTORING_ERROR,
  Field.EXIT_LENGTH,
  Field.INSTRUCTION_INFO,
  Field.EXIT_QUALIFICATION,
  Field.GUEST_LINEAR,
];
