import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { ramBytes } from './layout.js';
import { EFER } from './long-mode.js';
import { processorsText } from './processors.js';
import { INTERCEPTS_2, Exit as SvmExit, store, Vmcb } from './svm-vmcb.js';
import { Field, guestFields, hostFields } from './vmx-fields.js';

/** How often the guests change processors, and how many exits each has between two changes. */
export interface PairOptions {
  /** Default 10. */
  readonly rounds?: number;
  /** Default 100. */
  readonly exits?: number;
}

/** A page for each processor (host save area, VMXON region), and one for each guest (VMCB, VMCS). */
export const HOST_AREAS = 0x170000;
export const CONTROLS = 0x172000;
/** What each guest keeps in registers while it does not run, 32 bytes a guest; and what it counts in memory. */
const REGISTERS = 0x174000;
const COUNTS = 0x175000;

/** Which guest a processor runs in a round is in r15, its number in rbx, barriers in r14, exits that are left in r13. */
const main = (texts: Texts, { rounds = 10, exits = 100 }: PairOptions): string => `
main:
  xor ebx, ebx
  xor r14d, r14d
  mov rdi, ${HOST_AREAS}
  mov ecx, 0xc00                  ; six pages
  xor eax, eax
  rep stosq
  ${texts.say('two processors, two guests')}
  call newline
  call switch_on
  call make_guest
  inc ebx
  call make_guest
  dec ebx
  call start_second
  jmp rounds
second_main:
  mov ebx, 1
  xor r14d, r14d
  call switch_on
rounds:
  xor ebp, ebp
.round:
  call barrier
  lea r15d, [ebx+ebp]
  and r15d, 1                     ; the other guest than in the last round
  mov r13d, ${exits}
  call run_guest
  inc ebp
  cmp ebp, ${rounds}
  jb .round
  call barrier
  test ebx, ebx
  jnz power_off.halt
  jmp compare_counts
`;

/** Where a program goes whose checks fail. */
export const broken = (texts: Texts): string => `broken:
  ${texts.say('it went wrong')}
  call newline
  mov al, 3
  jmp power_off`;

/** Whether what the guests counted in memory is what they counted in registers; and the guests. */
const counting = (texts: Texts): string => `
compare_counts:
  xor ebx, ebx
.check:
  mov eax, ebx
  shl eax, 5
  mov rdx, [rax+${REGISTERS + 8}]
  cmp rdx, [rbx*8+${COUNTS}]
  jne broken
  ${texts.say('guest ')}
  mov eax, ebx
  call putdec
  ${texts.say(' counts ')}
  mov rax, [rbx*8+${COUNTS}]
  call putdec
  call newline
  inc ebx
  cmp ebx, 2
  jb .check
  xor eax, eax
  jmp power_off
${broken(texts)}
guest_code:                       ; r9: what it counts in memory, r12: the same in a register
  inc r12
  inc qword ptr [r9]
  xor eax, eax
  cpuid
  jmp guest_code
load_guest:                       ; the guest's registers, and the host's on the stack
  mov eax, r15d
  shl eax, 5
  mov r9, [rax+${REGISTERS}]
  mov r12, [rax+${REGISTERS + 8}]
  ret
store_guest:
  mov eax, r15d
  shl eax, 5
  mov [rax+${REGISTERS}], r9
  mov [rax+${REGISTERS + 8}], r12
  ret
first_registers:                  ; of the guest in ebx
  mov eax, ebx
  shl eax, 5
  lea rdx, [rbx*8+${COUNTS}]
  mov [rax+${REGISTERS}], rdx
  ret
`;

const VMX_EXIT_CPUID = 10;
const NOT_LAUNCHED = 5;
const Msr = { FEATURE_CONTROL: 0x3a, VMX_BASIC: 0x480, PIN: 0x48d, PROCESSOR: 0x48e, EXIT: 0x48f, ENTRY: 0x490 } as const;
const MSR_BITMAPS = 1 << 28;
/** 64-bit host; save and load IA32_EFER. */
const EXIT_CONTROLS = (1 << 9) | (1 << 20) | (1 << 21);
/** 64-bit guest; load IA32_EFER. */
const ENTRY_CONTROLS = (1 << 9) | (1 << 15);

const adjusted = (field: number, msr: number, wanted: number): string =>
  `mov eax, ${wanted >>> 0}\n mov ecx, ${msr}\n call adjust\n mov edx, ${field}\n vmwrite rdx, rax`;
const copied = (register: string, ...fields: readonly number[]): string =>
  `mov rax, ${register}\n${fields.map((field) => `mov edx, ${field}\n vmwrite rdx, rax`).join('\n')}`;

const initialRows = [...hostFields, ...guestFields.filter(({ initial }) => initial !== undefined)];

/** VMX switched on (`switch_on`), and VMCSs of guests that begin at `guest_code` (`make_guest`) and exit to `vmx_exit`. */
export const vmxSetUp = `
switch_on:                        ; ebx: number of the processor
  mov ecx, ${Msr.FEATURE_CONTROL}
  rdmsr
  test al, 1
  jnz .locked
  or eax, 5
  wrmsr
.locked:
  mov rax, cr4
  or rax, 0x2000
  mov cr4, rax
  mov ecx, ${Msr.VMX_BASIC}
  rdmsr
  mov edx, ebx
  shl edx, 12
  add edx, ${HOST_AREAS}
  mov [rdx], eax
  push rdx
  vmxon qword ptr [rsp]
  pop rdx
  jbe broken
  ret
control_of:                       ; eax: number of a guest → rax: its VMCS
  shl eax, 12
  add eax, ${CONTROLS}
  ret
make_guest:                       ; ebx: its number
  mov ecx, ${Msr.VMX_BASIC}
  rdmsr
  mov edx, eax
  mov eax, ebx
  call control_of
  mov [rax], edx
  push rax
  vmclear qword ptr [rsp]
  vmptrld qword ptr [rsp]
  ${adjusted(Field.PIN_CONTROLS, Msr.PIN, 0)}
  ${adjusted(Field.PROCESSOR_CONTROLS, Msr.PROCESSOR, MSR_BITMAPS)}
  ${adjusted(Field.EXIT_CONTROLS, Msr.EXIT, EXIT_CONTROLS)}
  ${adjusted(Field.ENTRY_CONTROLS, Msr.ENTRY, ENTRY_CONTROLS)}
  mov rsi, initial_fields
  mov ecx, ${initialRows.length}
.field:
  mov edx, [rsi]
  mov rax, [rsi+4]
  vmwrite rdx, rax
  add rsi, 12
  loop .field
  ${copied('cr0', Field.HOST_CR0, Field.GUEST_CR0)}
  ${copied('cr3', Field.HOST_CR3, Field.GUEST_CR3)}
  ${copied('cr4', Field.HOST_CR4, Field.GUEST_CR4)}
  ${copied('guest_code', Field.GUEST_RIP)}
  vmclear qword ptr [rsp]
  pop rax
  jmp first_registers
adjust:                           ; ecx: capability MSR, eax: what is wanted → eax: with what must be, without what must not
  mov r8d, eax
  rdmsr
  or eax, r8d
  and eax, edx
  ret
initial_fields:
${initialRows.map(({ field, initial }) => `  dd ${field}\n  dq ${initial}`).join('\n')}
`;

const vmxRun = (exits: number): string => `
run_guest:                        ; r15: which, r13: exits; its VMCS is active nowhere before and after
  mov eax, r15d
  call control_of
  push rax
  vmptrld qword ptr [rsp]
  jbe broken
  vmresume                        ; refused: it was cleared
  jnz broken
  mov edx, ${Field.INSTRUCTION_ERROR}
  vmread rax, rdx
  cmp eax, ${NOT_LAUNCHED}
  jne broken
  mov edx, ${Field.HOST_RSP}
  lea rax, [rsp-40]
  vmwrite rdx, rax
.enter:
  push rbx
  push rbp
  push r13
  push r14
  push r15
  cmp r13d, ${exits}
  jne .again
  call load_guest
  vmlaunch
  jmp broken
.again:
  call load_guest
  vmresume
  jmp broken
vmx_exit:
  pop r15
  pop r14
  pop r13
  pop rbp
  pop rbx
  call store_guest
  mov edx, ${Field.EXIT_REASON}
  vmread rax, rdx
  cmp eax, ${VMX_EXIT_CPUID}
  jne broken
  mov edx, ${Field.GUEST_RIP}
  vmread rax, rdx
  add rax, 2
  vmwrite rdx, rax
  dec r13d
  jnz run_guest.enter
  vmclear qword ptr [rsp]
  pop rax
  ret
`;

const HSAVE_PA = 0xc0010117;

/** A segment register of the VMCB at rbx: selector, attributes, base and limit of a flat one. */
const segment = (at: number, selector: number, attributes: number): string =>
  [store('word', at, selector), store('word', at + 2, attributes), store('dword', at + 4, -1)].join('\n');

/** The same for SVM. */
export const svmSetUp = `
switch_on:                        ; ebx: number of the processor
  mov ecx, ${EFER}
  rdmsr
  or eax, 0x1000
  wrmsr
  mov eax, ebx
  shl eax, 12
  add eax, ${HOST_AREAS}
  xor edx, edx
  mov ecx, ${HSAVE_PA}
  wrmsr
  ret
make_guest:                       ; ebx: its number
  call first_registers
  push rbx
  mov eax, ebx
  inc eax
  shl ebx, 12
  add ebx, ${CONTROLS}
  mov [rbx+${Vmcb.ASID}], eax
  ${store('dword', Vmcb.INTERCEPTS_1, 1 << (SvmExit.CPUID & 31))}
  ${store('dword', Vmcb.INTERCEPTS_2, INTERCEPTS_2)}
  ${segment(Vmcb.ES, 0x10, 0xc93)}
  ${segment(Vmcb.CS, 0x08, 0xa9b)}
  ${segment(Vmcb.SS, 0x10, 0xc93)}
  ${segment(Vmcb.DS, 0x10, 0xc93)}
  ${store('dword', Vmcb.RFLAGS, 2)}
  ${store('dword', Vmcb.DR6, 0xffff0ff0 | 0)}
  ${store('dword', Vmcb.DR7, 0x400)}
  ${store('dword', Vmcb.EFER, 0x1500)}
  mov rax, cr0
  mov [rbx+${Vmcb.CR0}], rax
  mov rax, cr3
  mov [rbx+${Vmcb.CR3}], rax
  mov rax, cr4
  mov [rbx+${Vmcb.CR4}], rax
  mov rax, guest_code
  mov [rbx+${Vmcb.RIP}], rax
  pop rbx
  ret
`;

const svmRun = `
run_guest:                        ; r15: which, r13: exits
  mov edi, r15d
  shl edi, 12
  add edi, ${CONTROLS}
  mov dword ptr [rdi+${Vmcb.TLB_CONTROL}], 1    ; what this processor knows of the guest is old
.enter:
  push rbx
  call load_guest
  mov rax, rdi
  vmrun
  pop rbx
  call store_guest
  mov dword ptr [rdi+${Vmcb.TLB_CONTROL}], 0
  cmp qword ptr [rdi+${Vmcb.EXIT_CODE}], ${SvmExit.CPUID}
  jne broken
  add qword ptr [rdi+${Vmcb.RIP}], 2
  dec r13d
  jnz .enter
  ret
`;

const image = (name: string, vendor: string, options: PairOptions): GuestImage => {
  const texts = new Texts();
  return buildImage(name, [main(texts, options), counting(texts), processorsText, vendor].join('\n'), texts, ramBytes(1));
};

/** Two processors run two VMX guests, and exchange them again and again: VMCLEAR on one, VMPTRLD and VMLAUNCH on the other. */
export const vmxPairImage = (options: PairOptions = {}): GuestImage => image('nestvm-vmx-pair', vmxSetUp + vmxRun(options.exits ?? 100), options);
/** The same for SVM, where a VMCB goes to another processor without being told. */
export const svmPairImage = (options: PairOptions = {}): GuestImage => image('nestvm-svm-pair', svmSetUp + svmRun, options);
