import { type Idle, vmxWaiting } from './idle.js';
import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { TICK_VECTOR } from './interrupts.js';
import { Layout, ramBytes, Variable } from './layout.js';
import { count, levelsText, loadRegisters, saved, storeRegisters } from './levels.js';
import { type LevelOptions, type Levels, levelsOf } from './programs.js';
import { Field, guestFields, hostFields } from './vmx-fields.js';
import { nestedText } from './vmx-nested.js';

const Msr = { FEATURE_CONTROL: 0x3a, VMX_BASIC: 0x480, PIN: 0x48d, PROCESSOR: 0x48e, EXIT: 0x48f, ENTRY: 0x490, PROCESSOR_2: 0x48b } as const;
/** Lock, VMX outside SMX. */
const FEATURE_ENABLED = 5;
const CR4_VMXE = 0x2000;

/** External-interrupt exiting. */
const PIN = 1;
/** HLT exiting, unconditional I/O exiting, MSR bitmaps, secondary controls. */
const PROCESSOR = (1 << 7) | (1 << 24) | (1 << 28) | 0x80000000;
const ENABLE_EPT = 2;
const ENABLE_VPID = 1 << 5;
/** Loads and stores of CR3, among the processor controls. */
const CR3_EXITING = (1 << 15) | (1 << 16);
/** Interrupt-window exiting, among the processor controls. */
const WINDOW = 4;
/** An external interrupt to inject, in the entry-interruption field. */
const INJECT_TICK = 0x80000000 + TICK_VECTOR;
/** 64-bit host; save and load IA32_EFER. */
const EXIT_CONTROLS = (1 << 9) | (1 << 20) | (1 << 21);
/** 64-bit guest; load IA32_EFER. */
const ENTRY_CONTROLS = (1 << 9) | (1 << 15);
/** Four levels, write-back. */
const EPT_POINTER_BITS = 0x1e;
/** 2-MiB page, write-back, all rights. */
const EPT_LEAF = 0xb7;
/** The same in page tables: 2 MiB, user, writable, present. */
const PAGE_LEAF = 0x87;

/** Basic exit reasons (SDM Vol. 3, Appendix C). */
const Exit = {
  INTERRUPT: 1,
  WINDOW: 7,
  CPUID: 10,
  HLT: 12,
  VMCALL: 18,
  VMCLEAR: 19,
  VMLAUNCH: 20,
  VMPTRLD: 21,
  VMREAD: 23,
  VMRESUME: 24,
  VMWRITE: 25,
  VMXON: 27,
  IO: 30,
  CR_ACCESS: 28,
  INVEPT: 50,
} as const;

const init = (shadow: boolean): string => `
hv_init:                          ; eax: 0, or 1 where there is no VMX with EPT
  mov eax, 1
  cpuid
  bt ecx, 5
  jnc .absent
  mov ecx, ${Msr.FEATURE_CONTROL}
  rdmsr
  test al, 1
  jnz .locked
  or eax, ${FEATURE_ENABLED}
  wrmsr
.locked:
  test al, 4
  jz .absent
  mov byte ptr [gdt+0x1d], 0x89   ; a task state that is not busy
  mov ax, 0x18
  ltr ax
  mov rax, cr4
  or rax, ${CR4_VMXE}
  mov cr4, rax
  mov rdi, ${Layout.IO_MAP}
  mov ecx, 0xc00                  ; the MSR bitmap as well
  xor eax, eax
  rep stosq
  mov ecx, ${Msr.VMX_BASIC}
  rdmsr
  mov [${Layout.HOST_AREA}], eax  ; the revision
  mov [${Layout.CONTROL_01}], eax
  mov [${Layout.CONTROL_02}], eax
  push ${Layout.HOST_AREA}
  vmxon qword ptr [rsp]
  pop rax
  jbe .absent
  mov r9, ${Layout.NESTED_01}
  mov r10, ${shadow ? PAGE_LEAF : EPT_LEAF}
  call map_child
  ${shadow ? 'mov rax, cr3\n mov cr3, rax' : ''}
  xor eax, eax
  ret
.absent:
  mov eax, 1
  ret
hv_end:                           ; the guest's context is given up
  push ${Layout.CONTROL_01}
  vmclear qword ptr [rsp]
  pop rax
  ret
hv_off:
  vmxoff
  mov rax, cr4
  and rax, ${~CR4_VMXE}
  mov cr4, rax
  ret
adjust:                           ; ecx: capability MSR, eax: what is wanted → eax: with the bits that must be set, without those that must not
  push rdx
  mov r8d, eax
  rdmsr
  or eax, r8d
  and eax, edx
  pop rdx
  ret
`;

/** Writes a field with a constant or a register's value. */
const writeField = (field: number, value: number | string): string => `mov edx, ${field}\n mov rax, ${value}\n vmwrite rdx, rax`;

const adjusted = (field: number, msr: number, wanted: number): string =>
  `mov eax, ${wanted >>> 0}\n mov ecx, ${msr}\n call adjust\n mov edx, ${field}\n vmwrite rdx, rax`;

/** What is known of an earlier guest goes. */
const FORGET_ALL = `
  push 0
  push 0
  mov eax, 2
  invept rax, xmmword ptr [rsp]
  add rsp, 16
`;

const reset = (shadow: boolean): string => `
hv_reset:                         ; the guest begins as this level did, at start
  mov qword ptr [${Variable.LAUNCHED_02}], -1   ; CONTROL_02 is not made yet
  mov r9, ${Layout.CONTROL_01}
  call make_control
  ${shadow ? writeField(Field.GUEST_CR3, Layout.NESTED_01) : writeField(Field.EPT_POINTER, Layout.NESTED_01 + EPT_POINTER_BITS) + FORGET_ALL}
  mov qword ptr [${Variable.LAUNCHED}], 0
  mov qword ptr [${Variable.NESTED}], 0
  mov qword ptr [${Variable.GUEST_ROOT}], 0
  mov qword ptr [${Variable.GATE}], 0
  ret
load_control:                     ; r9: makes this VMCS the current one
  push r9
  vmptrld qword ptr [rsp]
  pop r9
  ret
make_control:                     ; r9: a VMCS with our controls, our host state, and a guest at start
  push r9
  vmclear qword ptr [rsp]
  pop r9
  call load_control
  ${adjusted(Field.PIN_CONTROLS, Msr.PIN, PIN)}
  ${adjusted(Field.PROCESSOR_CONTROLS, Msr.PROCESSOR, shadow ? PROCESSOR | CR3_EXITING : PROCESSOR)}
  ${adjusted(Field.PROCESSOR_CONTROLS_2, Msr.PROCESSOR_2, shadow ? 0 : ENABLE_EPT | ENABLE_VPID)}
  mov rax, r9                     ; a VPID for each of the two VMCSs
  shr eax, 12
  and eax, 1
  inc eax
  mov edx, ${Field.VPID}
  vmwrite rdx, rax
  ${adjusted(Field.EXIT_CONTROLS, Msr.EXIT, EXIT_CONTROLS)}
  ${adjusted(Field.ENTRY_CONTROLS, Msr.ENTRY, ENTRY_CONTROLS)}
  mov rsi, initial_fields
  mov ecx, initial_fields_count
.field:
  mov edx, [rsi]
  mov rax, [rsi+4]
  vmwrite rdx, rax
  add rsi, 12
  loop .field
  mov rax, cr0
  mov edx, ${Field.HOST_CR0}
  vmwrite rdx, rax
  mov edx, ${Field.GUEST_CR0}
  vmwrite rdx, rax
  mov rax, cr3
  mov edx, ${Field.HOST_CR3}
  vmwrite rdx, rax
  mov edx, ${Field.GUEST_CR3}
  vmwrite rdx, rax
  mov rax, cr4
  mov edx, ${Field.HOST_CR4}
  vmwrite rdx, rax
  mov edx, ${Field.GUEST_CR4}
  vmwrite rdx, rax
  ret
`;

const handlers = (shadow: boolean): readonly (readonly [reason: number, label: string])[] => [
  [Exit.CPUID, 'on_cpuid'],
  [Exit.IO, 'on_io'],
  [Exit.HLT, 'on_hlt'],
  [Exit.VMCALL, 'on_call'],
  [Exit.VMREAD, 'on_vmread'],
  [Exit.VMWRITE, 'on_vmwrite'],
  [Exit.VMRESUME, 'on_entry'],
  [Exit.VMLAUNCH, 'on_entry'],
  [Exit.VMPTRLD, 'on_vmptrld'],
  [Exit.VMCLEAR, 'on_nothing'],
  [Exit.VMXON, 'on_nothing'],
  [Exit.INVEPT, 'on_invept'],
  [Exit.INTERRUPT, 'on_interrupt'],
  [Exit.WINDOW, 'on_window'],
  ...(shadow ? ([[Exit.CR_ACCESS, 'on_cr3']] as const) : []),
];

/** The guest waits. */
const onHlt = ({ before, after }: (typeof vmxWaiting)[Idle]): string => `
on_hlt:                           ; with interrupts on, the guest waits for one
  ${count('hlt')}
  mov edx, ${Field.INTERRUPTIBILITY}
  xor eax, eax
  vmwrite rdx, rax
  mov edx, ${Field.GUEST_RFLAGS}
  vmread rax, rdx
  bt eax, 9
  jnc resume
  ${before}
.wait:
  cmp qword ptr [${Variable.PENDING}], 0
  jne .woken
  sti
  hlt
  cli
  jmp .wait
.woken:
  ${after}
  jmp resume
`;

/** What is done about each exit of the guest that is not for a deeper level. */
const onExits = `on_cpuid:
  ${count('cpuid')}
  call answer_cpuid
  jmp resume
on_io:
  ${count('io')}
  mov edx, ${Field.EXIT_QUALIFICATION}
  vmread rdx, rdx
  mov al, [${saved('rax')}]
  bt edx, 3
  jc .in
  shr edx, 16
  call forward_byte
  jmp resume
.in:
  mov byte ptr [${saved('rax')}], 0xff
  jmp resume
on_interrupt:                     ; on_tick has had it
  ${count('intr')}
  jmp enter
on_window:                        ; the guest can take interrupts: offer_tick does it
  ${count('intr')}
  mov edx, ${Field.PROCESSOR_CONTROLS}
  vmread rax, rdx
  and eax, ${~WINDOW}
  vmwrite rdx, rax
  mov qword ptr [${Variable.GATE}], 0
  jmp enter
offer_tick:                       ; the guest (not its guest) gets a tick as an interrupt, now or when it can take one
  cmp qword ptr [${Variable.PENDING}], 0
  je .no
  cmp qword ptr [${Variable.NESTED}], 0
  jne .no
  mov edx, ${Field.GUEST_RFLAGS}
  vmread rax, rdx
  bt eax, 9
  jnc .later
  mov edx, ${Field.INTERRUPTIBILITY}
  vmread rax, rdx
  test al, 3
  jnz .later
  mov edx, ${Field.ENTRY_INTERRUPTION}
  mov eax, ${INJECT_TICK}
  vmwrite rdx, rax
  mov qword ptr [${Variable.PENDING}], 0
.no:
  ret
.later:
  cmp qword ptr [${Variable.GATE}], 0
  jne .no
  mov qword ptr [${Variable.GATE}], 1
  mov edx, ${Field.PROCESSOR_CONTROLS}
  vmread rax, rdx
  or eax, ${WINDOW}
  vmwrite rdx, rax
  ret
on_call:
  ${count('call')}
  cmp qword ptr [${saved('rax')}], 1
  jne resume
  xor eax, eax
  ret
`;

const run = ({ shadow, idle }: Levels): string => `
hv_run:                           ; runs the guest until it calls to end: eax 0, or 1 with an unexpected exit reason in rbx
enter:
  call offer_tick
  mov edx, ${Field.HOST_RSP}
  vmwrite rdx, rsp
  mov rax, [${Variable.NESTED}]
  cmp qword ptr [rax*8+${Variable.LAUNCHED}], 0   ; by the current VMCS; the loads keep the flag
  ${loadRegisters()}
  jne .again
  vmlaunch
  jmp .failed
.again:
  vmresume
.failed:
  mov edx, ${Field.INSTRUCTION_ERROR}
  vmread rbx, rdx
  mov eax, 1
  ret
vmx_exit:
  ${storeRegisters()}
  mov rax, [${Variable.NESTED}]
  mov qword ptr [rax*8+${Variable.LAUNCHED}], 1
  mov edx, ${Field.EXIT_REASON}
  vmread rbx, rdx
  cmp ebx, ${Exit.INTERRUPT}
  jne .taken
  sti                             ; the interrupt that waits comes here, to on_tick
  nop
  cli
.taken:
  cmp qword ptr [${Variable.NESTED}], 0
  jne reflect
  ${handlers(shadow)
    .map(([reason, label]) => `cmp ebx, ${reason}\n je ${label}`)
    .join('\n')}
  mov eax, 1
  ret
resume:                           ; goes on after the instruction that exited
  mov edx, ${Field.EXIT_LENGTH}
  vmread rax, rdx
  mov edx, ${Field.GUEST_RIP}
  vmread rcx, rdx
  add rcx, rax
  vmwrite rdx, rcx
  jmp enter
${onExits}${onHlt(vmxWaiting[idle])}`;

/** The guest sees its own CR3 while ours is in force; it writes always the same value. */
const onCr3 = `
on_cr3:
  ${count('state')}
  mov edx, ${Field.EXIT_QUALIFICATION}
  vmread rdx, rdx
  bt edx, 4
  jnc resume
  shr edx, 8
  and edx, 15
  mov qword ptr [rdx*8+${Layout.REGISTERS}], ${Layout.PML4}
  jmp resume
`;

/** A field's number and what it holds at first, as `make_control` reads them. */
function initialFields(): string {
  const rows = [...hostFields, ...guestFields.filter(({ initial }) => initial !== undefined)];
  return `
initial_fields:
${rows.map(({ field, initial }) => `  dd ${field}\n  dq ${initial}`).join('\n')}
`;
}

/** A hypervisor for Intel VMX that runs itself as its guest, and so on: the last level is a program. */
export function vmxImage(options: LevelOptions = {}): GuestImage {
  const texts = new Texts();
  const levels = levelsOf(options, 'vmcall');
  const { shadow } = levels;
  const shared = levelsText(texts, levels);
  const rows = hostFields.length + guestFields.filter(({ initial }) => initial !== undefined).length;
  const code = [
    shared,
    init(shadow),
    reset(shadow),
    run(levels),
    nestedText({ eptPointerBits: EPT_POINTER_BITS, interrupt: Exit.INTERRUPT, window: WINDOW, shadow }),
    initialFields(),
    ...(shadow ? [onCr3] : []),
  ]
    .join('\n')
    .replaceAll('initial_fields_count', String(rows));
  return buildImage('nestvm-vmx', code, texts, ramBytes(levels.last));
}
