import { Layout, Variable } from './layout.js';
import { count, saved } from './levels.js';
import { Exit, INTERCEPT_CR3, INTERCEPTS_1, INTERCEPTS_2, store, V_MASKING, Vmcb } from './svm-vmcb.js';

const NESTED_ASID = 2;

/** State that VMLOAD and VMSAVE move and VMRUN does not touch: FS and GS, LDTR, TR, then STAR to SYSENTER_EIP. */
const EXTRA: readonly (readonly [offset: number, qwords: number])[] = [
  [Vmcb.FS, 4],
  [Vmcb.LDTR, 2],
  [Vmcb.TR, 2],
  [Vmcb.STAR, 8],
];
/** What an exit writes to the guest's VMCB: exit information, next RIP and instruction bytes, then the state that VMRUN loaded. */
const WRITTEN: readonly (readonly [offset: number, qwords: number])[] = [
  [0x060, 6],
  [Vmcb.EVENT_INJECTION, 1],
  [Vmcb.NEXT_RIP, 3],
  [Vmcb.ES, 8],
  [Vmcb.GDTR, 2],
  [Vmcb.IDTR, 2],
  [0x4c8, 2],
  [Vmcb.CR4, 7],
  [Vmcb.RSP, 1],
  [Vmcb.RAX, 1],
  [Vmcb.CR2, 1],
  [Vmcb.PAT, 2],
];

/** Copies ranges from the block at rsi to the block at rdi; keeps both. */
const copyRanges = (label: string, ranges: readonly (readonly [number, number])[]): string => `
${label}:
  push rsi
  push rdi
  mov r8, rsi
  mov r9, rdi
  ${ranges.map(([offset, qwords]) => `lea rsi, [r8+${offset}]\n lea rdi, [r9+${offset}]\n mov ecx, ${qwords}\n rep movsq`).join('\n')}
  pop rdi
  pop rsi
  ret
`;

/** Where the tables are that the guest made for its guest. */
const root = (shadow: boolean): number => (shadow ? Vmcb.CR3 : Vmcb.NESTED_CR3);

/** Virtualization for the guest: its VMRUN, VMLOAD and VMSAVE, and the exits of its own guest. */
const nested = (shadow: boolean): string => `
guest_block:                      ; rsi: the VMCB that the guest's RAX names, as we reach it
  mov rsi, [${saved('rax')}]
  and rsi, -4096
  add rsi, ${Layout.CHILD_BASE}
  ret
on_vmload:
  ${count('state')}
  call guest_block
  mov rdi, rbx
  call copy_extra
  mov ecx, 3
  jmp resume
on_vmsave:
  ${count('state')}
  call guest_block
  mov rdi, rsi
  mov rsi, rbx
  call copy_extra
  mov ecx, 3
  jmp resume
on_vmrun:
  ${count('entry')}
  add qword ptr [rbx+${Vmcb.RIP}], 3
  call guest_block
  mov [${Variable.GUEST_BLOCK}], rsi
  mov rdi, ${Layout.CONTROL_02}   ; what the guest asks for …
  mov ecx, 512
  rep movsq
  mov rsi, rbx
  mov rdi, ${Layout.CONTROL_02}
  call copy_extra
  mov rbx, rdi                    ; … with what this level needs
  or dword ptr [rbx+${Vmcb.INTERCEPTS_1}], ${INTERCEPTS_1}
  or dword ptr [rbx+${Vmcb.INTERCEPTS_2}], ${INTERCEPTS_2}
  ${store('qword', Vmcb.IOPM, Layout.IO_MAP)}
  ${store('qword', Vmcb.MSRPM, Layout.MSR_MAP)}
  ${store('dword', Vmcb.ASID, NESTED_ASID)}
  ${store('dword', Vmcb.CLEAN, 0)}
  or dword ptr [rbx+${Vmcb.VIRTUAL_INTERRUPT}], ${V_MASKING}
  ${shadow ? store('dword', Vmcb.INTERCEPTS_CR, INTERCEPT_CR3) : ''}
  mov rax, [rbx+${root(shadow)}]  ; the guest's tables are composed with ours
  ${store('qword', root(shadow), Layout.NESTED_02)}
  cmp byte ptr [rbx+${Vmcb.TLB_CONTROL}], 0
  jne .compose
  cmp rax, [${Variable.GUEST_ROOT}]
  je .composed
.compose:
  mov [${Variable.GUEST_ROOT}], rax
  call compose
  ${store('byte', Vmcb.TLB_CONTROL, 1)}
.composed:
  mov [${Variable.CURRENT}], rbx
  mov qword ptr [${Variable.NESTED}], 1
  mov qword ptr [${Variable.GATE}], 1
  cmp qword ptr [${Variable.PENDING}], 0
  je enter
  mov qword ptr [rbx+${Vmcb.EXIT_CODE}], ${Exit.INTR}   ; a tick waits for the guest: its guest does not begin
reflect:                          ; the guest's guest has exited: the guest, which is this same program, intercepts all that we do
  ${count('nested')}
  mov rsi, rbx
  mov rdi, ${Layout.CONTROL_01}
  call copy_extra
  mov rdi, [${Variable.GUEST_BLOCK}]
  call copy_written
  ${shadow ? `mov rax, [${Variable.GUEST_ROOT}]\n mov [rdi+${Vmcb.CR3}], rax` : ''}
  mov rbx, ${Layout.CONTROL_01}   ; still as the guest was at its VMRUN: RAX and RSP are its own
  mov byte ptr [rbx+${Vmcb.TLB_CONTROL}], 0
  mov [${Variable.CURRENT}], rbx
  mov qword ptr [${Variable.NESTED}], 0
  mov qword ptr [${Variable.GATE}], 0
  jmp enter
`;

/** Virtualization of SVM for the guest. */
export const svmNestedText = (shadow: boolean): string =>
  [nested(shadow), copyRanges('copy_extra', EXTRA), copyRanges('copy_written', WRITTEN)].join('\n');
