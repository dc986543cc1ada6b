import { type Idle, svmWaiting } from './idle.js';
import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { TICK_VECTOR } from './interrupts.js';
import { Layout, ramBytes, Variable } from './layout.js';
import { count, levelsText, loadRegisters, saved, storeRegisters } from './levels.js';
import { type LevelOptions, type Levels, levelsOf } from './programs.js';
import { svmNestedText } from './svm-nested.js';
import { Exit, INTERCEPT_CR3, INTERCEPTS_1, INTERCEPTS_2, store, V_IGNORE_TPR, V_IRQ, V_MASKING, Vmcb } from './svm-vmcb.js';

const Msr = { EFER: 0xc0000080, VM_HSAVE_PA: 0xc0010117 } as const;
const EFER_SVME = 0x1000;
/** SVME, LMA, LME. */
const EFER = 0x1500;

/** Both intercept bits of VM_HSAVE_PA, which belongs to the level that runs: byte and bits in the MSR permission map. */
const HSAVE_BYTE = 0x1000 + ((0x117 * 2) >> 3);
const HSAVE_BITS = 3 << ((0x117 * 2) & 7);
const GUEST_ASID = 1;

const init = (shadow: boolean): string => `
hv_init:                          ; eax: 0, or 1 where there is no SVM with nested paging
  mov eax, 0x80000001
  cpuid
  bt ecx, 2
  jnc .absent
  ${shadow ? '' : 'mov eax, 0x8000000a\n cpuid\n bt edx, 0\n jnc .absent'}
  mov ecx, ${Msr.EFER}
  rdmsr
  or eax, ${EFER_SVME}
  wrmsr
  mov ecx, ${Msr.VM_HSAVE_PA}
  mov eax, ${Layout.HOST_AREA}
  xor edx, edx
  wrmsr
  mov rdi, ${Layout.IO_MAP}       ; every port
  mov ecx, 0x600
  mov rax, -1
  rep stosq
  mov rdi, ${Layout.MSR_MAP}      ; of the MSRs only VM_HSAVE_PA
  mov ecx, 0x400
  xor eax, eax
  rep stosq
  mov byte ptr [${Layout.MSR_MAP + HSAVE_BYTE}], ${HSAVE_BITS}
  mov r9, ${Layout.NESTED_01}
  mov r10, 0x87
  call map_child
  ${shadow ? 'mov rax, cr3\n mov cr3, rax' : ''}
  xor eax, eax
  ret
.absent:
  mov eax, 1
  ret
hv_end:                           ; nothing but an empty nested table says that a VMCB is done with
  ret
hv_off:
  mov ecx, ${Msr.EFER}
  rdmsr
  and eax, ${~EFER_SVME}
  wrmsr
  ret
`;

const segment = (at: number, selector: number, attributes: number, limit: number): string =>
  [store('word', at, selector), store('word', at + 2, attributes), store('dword', at + 4, limit)].join('\n');

const CODE = 0xa9b;
const DATA = 0xc93;
const TSS = 0x8b;
const FLAT = -1;

const reset = (shadow: boolean): string => `
hv_reset:                         ; the guest begins as this level did, at start
  mov rbx, ${Layout.CONTROL_01}
  mov rdi, rbx
  mov ecx, 512
  xor eax, eax
  rep stosq
  ${store('dword', Vmcb.INTERCEPTS_1, INTERCEPTS_1)}
  ${store('dword', Vmcb.INTERCEPTS_2, INTERCEPTS_2)}
  ${store('dword', Vmcb.IOPM, Layout.IO_MAP)}
  ${store('dword', Vmcb.MSRPM, Layout.MSR_MAP)}
  ${store('dword', Vmcb.ASID, GUEST_ASID)}
  ${store('byte', Vmcb.TLB_CONTROL, 1)}
  ${store('dword', Vmcb.VIRTUAL_INTERRUPT, V_IGNORE_TPR | V_MASKING)}
  ${store('byte', Vmcb.VIRTUAL_INTERRUPT + 4, TICK_VECTOR)}
  ${shadow ? store('dword', Vmcb.INTERCEPTS_CR, INTERCEPT_CR3) : store('dword', Vmcb.NESTED_PAGING, 1)}
  ${store('dword', Vmcb.NESTED_CR3, Layout.NESTED_01)}
  ${segment(Vmcb.ES, 0x10, DATA, FLAT)}
  ${segment(Vmcb.CS, 0x08, CODE, FLAT)}
  ${segment(Vmcb.SS, 0x10, DATA, FLAT)}
  ${segment(Vmcb.DS, 0x10, DATA, FLAT)}
  ${segment(Vmcb.GDTR, 0, 0, 39)}
  ${store('qword', Vmcb.GDTR + 8, 'gdt')}
  ${segment(Vmcb.LDTR, 0, 0x82, 0)}
  ${segment(Vmcb.TR, 0x18, TSS, 0x67)}
  ${store('dword', Vmcb.EFER, EFER)}
  mov rax, cr4
  mov [rbx+${Vmcb.CR4}], rax
  ${shadow ? `mov eax, ${Layout.NESTED_01}` : 'mov rax, cr3'}
  mov [rbx+${Vmcb.CR3}], rax
  mov rax, cr0
  mov [rbx+${Vmcb.CR0}], rax
  ${store('dword', Vmcb.DR7, 0x400)}
  mov eax, 0xffff0ff0
  mov [rbx+${Vmcb.DR6}], rax
  ${store('dword', Vmcb.RFLAGS, 2)}
  ${store('qword', Vmcb.RIP, 'start')}
  mov rax, 0x0007040600070406
  mov [rbx+${Vmcb.PAT}], rax
  mov [${Variable.CURRENT}], rbx
  mov qword ptr [${Variable.NESTED}], 0
  mov qword ptr [${Variable.GUEST_ROOT}], 0
  mov qword ptr [${Variable.GATE}], 1
  ret
`;

/** Exits of the guest: code, handler, bytes of the instruction to skip. */
const handlers = (shadow: boolean): readonly (readonly [code: number, label: string])[] => [
  [Exit.CPUID, 'on_cpuid'],
  [Exit.IOIO, 'on_io'],
  [Exit.HLT, 'on_hlt'],
  [Exit.MSR, 'on_msr'],
  [Exit.VMMCALL, 'on_call'],
  [Exit.VMRUN, 'on_vmrun'],
  [Exit.VMLOAD, 'on_vmload'],
  [Exit.VMSAVE, 'on_vmsave'],
  [Exit.STGI, 'on_stgi'],
  [Exit.CLGI, 'on_clgi'],
  [Exit.INTR, 'on_interrupt'],
  ...(shadow
    ? ([
        [Exit.CR3_READ, 'on_cr3_read'],
        [Exit.CR3_WRITE, 'on_cr3_write'],
      ] as const)
    : []),
];

/** The guest waits. */
const onHlt = ({ before, after }: (typeof svmWaiting)[Idle]): string => `
on_hlt:                           ; with interrupts on, the guest waits for one
  ${count('hlt')}
  mov ecx, 1
  mov byte ptr [rbx+${Vmcb.SHADOW}], 0
  bt dword ptr [rbx+${Vmcb.RFLAGS}], 9
  jnc resume
  ${before}
.wait:
  bt dword ptr [rbx+${Vmcb.VIRTUAL_INTERRUPT}], 8
  jc .woken
  cmp qword ptr [${Variable.PENDING}], 0
  jne .woken
  sti
  hlt
  cli
  jmp .wait
.woken:
  ${after}
  mov ecx, 1
  jmp resume
`;

/** What is done about each exit of the guest that is not for a deeper level. */
const onExits = `on_cpuid:
  ${count('cpuid')}
  push rbx
  call answer_cpuid
  pop rbx
  mov ecx, 2
  jmp resume
on_io:
  ${count('io')}
  mov rdx, [rbx+${Vmcb.EXIT_INFO_1}]
  mov al, [${saved('rax')}]
  bt edx, 0
  jc .in
  shr edx, 16
  call forward_byte
  jmp .next
.in:
  mov byte ptr [${saved('rax')}], 0xff
.next:
  mov rcx, [rbx+${Vmcb.EXIT_INFO_1 + 8}]      ; EXITINFO2: the next instruction
  sub rcx, [rbx+${Vmcb.RIP}]
  jmp resume
on_interrupt:                     ; on_tick has had it
  ${count('intr')}
  xor ecx, ecx
  jmp resume
on_msr:                           ; VM_HSAVE_PA: this level saves its state elsewhere
  ${count('msr')}
  mov ecx, 2
  jmp resume
on_call:
  ${count('call')}
  mov ecx, 3
  cmp qword ptr [${saved('rax')}], 1
  jne resume
  xor eax, eax
  ret
on_stgi:
  ${count('state')}
  mov qword ptr [${Variable.GATE}], 1
  mov ecx, 3
  jmp resume
on_clgi:                          ; what was offered and not taken has to wait
  ${count('state')}
  mov qword ptr [${Variable.GATE}], 0
  btr dword ptr [rbx+${Vmcb.VIRTUAL_INTERRUPT}], 8
  jnc .nothing
  mov qword ptr [${Variable.PENDING}], 1
.nothing:
  mov ecx, 3
  jmp resume
offer_tick:                       ; the guest (not its guest) gets a tick as a virtual interrupt
  cmp qword ptr [${Variable.PENDING}], 0
  je .no
  cmp qword ptr [${Variable.NESTED}], 0
  jne .no
  cmp qword ptr [${Variable.GATE}], 0
  je .no
  or dword ptr [${Layout.CONTROL_01 + Vmcb.VIRTUAL_INTERRUPT}], ${V_IRQ}
  mov qword ptr [${Variable.PENDING}], 0
.no:
  ret
`;

const run = ({ shadow, idle }: Levels): string => `
hv_run:                           ; runs the guest until it calls to end: eax 0, or 1 with an unexpected exit code in rbx
enter:
  clgi
  call offer_tick
  mov rax, [${Variable.CURRENT}]
  sti                             ; interrupts of the machine exit the guest
  vmload
  ${loadRegisters('rax')}
  vmrun
  ${storeRegisters('rax')}
  vmsave
  stgi                            ; an interrupt that waits comes here, to on_tick
  cli
  mov rbx, rax
  mov rax, [rbx+${Vmcb.RAX}]
  mov [${saved('rax')}], rax
  mov rcx, [rbx+${Vmcb.EXIT_CODE}]
  cmp qword ptr [${Variable.NESTED}], 0
  jne reflect
  ${handlers(shadow)
    .map(([code, label]) => `cmp rcx, ${code}\n je ${label}`)
    .join('\n')}
  mov rbx, rcx
  mov eax, 1
  ret
resume:                           ; rcx: bytes of the instruction that exited
  add [rbx+${Vmcb.RIP}], rcx
  mov rax, [${saved('rax')}]
  mov [rbx+${Vmcb.RAX}], rax
  mov byte ptr [rbx+${Vmcb.TLB_CONTROL}], 0
  jmp enter
${onExits}${onHlt(svmWaiting[idle])}`;

/** The guest sees its own CR3 while ours is in force. It moves it through RAX only: without decode assists the exit does not say the register. */
const onCr3 = `
on_cr3_read:
  mov qword ptr [${saved('rax')}], ${Layout.PML4}
on_cr3_write:                     ; always the same value
  ${count('state')}
  mov ecx, 3
  jmp resume
`;

/** A hypervisor for AMD SVM that runs itself as its guest, and so on: the last level is a program. */
export function svmImage(options: LevelOptions = {}): GuestImage {
  const texts = new Texts();
  const levels = levelsOf(options, 'vmmcall');
  const shared = levelsText(texts, levels);
  const code = [shared, init(levels.shadow), reset(levels.shadow), run(levels), svmNestedText(levels.shadow), ...(levels.shadow ? [onCr3] : [])].join(
    '\n',
  );
  return buildImage('nestvm-svm', code, texts, ramBytes(levels.last));
}
