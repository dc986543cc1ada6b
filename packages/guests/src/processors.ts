import { enterLongMode, loadSegments } from './long-mode.js';

/** Code of two processors: the second is started by INIT and SIPI, through real mode, and goes on at `second_main`. */

/** Below 1 MiB, where start-up IPIs lead: the page is the IPI's vector. */
const TRAMPOLINE = 0x8000;
/** The start-up IPI that leads to the trampoline. */
export const START_UP = 0x600 | (TRAMPOLINE >> 12);
const INIT = 0x500;
/** To all but oneself, asserted. */
const OTHERS = (3 << 18) | (1 << 14);
const APIC_BASE = 0x1b;
const X2APIC = 1 << 10;
const X2APIC_COMMAND = 0x830;
/** Where in the trampoline its descriptor-table pointer is. */
const POINTER = 0x20;

/** What both processors count, and where the second has its stack; behind what every level uses. */
const Shared = { BARRIER: 0x150000, SECOND_STACK: 0x160000 } as const;

/** `start_second` starts the other processor, `send_init` and `send_ipi` signal to it, `barrier` waits until both have come to it as often (r14d counts; 0 at first). */
export const processorsText = `
start_second:
  mov rsi, trampoline
  mov edi, ${TRAMPOLINE}
  mov ecx, 64
  rep movsb
  mov ecx, ${APIC_BASE}
  rdmsr
  or eax, ${X2APIC}
  wrmsr
  call send_init
  mov eax, ${START_UP}
  jmp send_ipi
send_init:
  mov eax, ${INIT}
send_ipi:                         ; eax: low half of the command, without a destination: to the other processor
  or eax, ${OTHERS}
  mov ecx, ${X2APIC_COMMAND}
  xor edx, edx
  wrmsr
  ret
barrier:
  add r14d, 2
  lock inc dword ptr [${Shared.BARRIER}]
.wait:
  pause
  cmp [${Shared.BARRIER}], r14d
  jb .wait
  ret
second64:
  ${loadSegments(Shared.SECOND_STACK)}
  jmp second_main
  align 16
trampoline:                       ; in real mode, at any address
  db 0xfa                                       ; cli
  db 0x2e, 0x66, 0x0f, 0x01, 0x16, ${POINTER}, 0   ; lgdt cs:[pointer]
  db 0x0f, 0x20, 0xc0                           ; mov eax, cr0
  db 0x0c, 1                                    ; or al, 1
  db 0x0f, 0x22, 0xc0                           ; mov cr0, eax
  db 0x66, 0xea                                 ; jmp far 8:second32
  dd second32
  dw 8
  align 32
  dw 23
  dd second_gdt
  align 16
second_gdt:
  dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
  bits 32
second32:
  mov eax, 0x10
  mov ds, ax
  ${enterLongMode('second64')}
  bits 64
`;
