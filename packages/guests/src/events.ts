import { EventMemory, type EventTest, eventTests } from './event-tests.js';
import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { Layout } from './layout.js';
import { EFER } from './long-mode.js';

/** How the list of events is made. */
export interface EventsOptions {
  /** Divides the work of every test (default 1). */
  readonly divisor?: number;
  /** Only these tests, by name (default all). */
  readonly tests?: readonly string[];
}

/** Names of the tests. */
export const eventNames: readonly string[] = eventTests.map(({ name }) => name);

const STAR = 0xc0000081;
const LSTAR = 0xc0000082;
const FMASK = 0xc0000084;
const SYSCALL_ENABLE = 1;
/** Selectors of the descriptor table below; those of user code lie as SYSRET expects them behind USER_BASE. */
const Selector = { CODE: 0x08, USER_BASE: 0x13, USER_DATA: 0x1b, USER_CODE: 0x23, TASK: 0x28 } as const;
const INTERRUPTS_OFF = 0x200;
const DESCRIPTOR_BYTES = 16;
const KERNEL_GATE = 0x8e00;
const USER_GATE = 0xee00;
/** 2 MiB, present, writable, not cached. */
const DEVICE_PAGE = 0x9b;
const LEAVE_USER = 0x3f;

const descriptors = `
  align 16
event_gdt:
  dq 0
  dq 0x00af9b000000ffff           ; 08: 64-bit code
  dq 0x00cf93000000ffff           ; 10: data
  dq 0x00cff3000000ffff           ; 18: data of user code
  dq 0x00affb000000ffff           ; 20: 64-bit user code
  dw 0x67, ${EventMemory.TASK & 0xffff}
  db ${EventMemory.TASK >> 16}, 0x89, 0, 0
  dq 0
event_gdt_pointer:
  dw 0x37
  dq event_gdt
event_idt_pointer:
  dw 0xfff
  dq ${Layout.IDT}
`;

/** Descriptors, the task's stack, SYSCALL, page tables beyond the identity map, and no interrupt but the local APIC's. */
const setUp = `
set_up:
  mov edi, ${EventMemory.CLEAR}
  mov ecx, ${(EventMemory.CLEAR_END - EventMemory.CLEAR) / 8}
  xor eax, eax
  rep stosq
  mov qword ptr [${EventMemory.TASK + 4}], ${EventMemory.EVENT_STACK}
  lgdt [event_gdt_pointer]
  lidt [event_idt_pointer]
  mov ax, ${Selector.TASK}
  ltr ax
  mov ecx, ${EFER}
  rdmsr
  or eax, ${SYSCALL_ENABLE}
  wrmsr
  mov ecx, ${STAR}
  xor eax, eax
  mov edx, ${(Selector.USER_BASE << 16) | Selector.CODE}
  wrmsr
  mov ecx, ${LSTAR}
  mov eax, on_syscall
  xor edx, edx
  wrmsr
  mov ecx, ${FMASK}
  mov eax, ${INTERRUPTS_OFF}
  xor edx, edx
  wrmsr
  mov rax, [${Layout.PML4}]
  mov [${EventMemory.OTHER_ROOT}], rax
  mov qword ptr [${Layout.PDPT + 8}], ${EventMemory.DIRECTORY + 7}
  mov qword ptr [${EventMemory.DIRECTORY}], ${EventMemory.TABLE + 7}
  mov qword ptr [${Layout.PDPT + 24}], ${EventMemory.DEVICES + 7}
  mov eax, ${EventMemory.LOCAL_APIC | DEVICE_PAGE}
  mov [${EventMemory.DEVICES + ((EventMemory.LOCAL_APIC >>> 21) & 511) * 8}], rax
  mov edi, ${EventMemory.TABLE}
  mov eax, ${EventMemory.PAGES + 7}
.page:                            ; the first half of the table maps pages, the other half is for faults
  mov [rdi], rax
  add eax, 0x1000
  add edi, 8
  cmp edi, ${EventMemory.TABLE + 256 * 8}
  jb .page
  mov al, 0xff
  out 0x21, al
  out 0xa1, al
  mov eax, ${EventMemory.LOCAL_APIC}
  mov dword ptr [rax+0xf0], 0x1ff
  ret
set_gate:                         ; rdi: gate, rax: handler, edx: kind
  mov [rdi], ax
  mov word ptr [rdi+2], ${Selector.CODE}
  mov [rdi+4], dx
  shr rax, 16
  mov [rdi+6], ax
  shr rax, 16
  mov [rdi+8], rax
  ret
run_user:                         ; rdi: user code, which ends with an interrupt of its own
  mov [${EventMemory.SAVED_STACK}], rsp
  push ${Selector.USER_DATA}
  push ${EventMemory.USER_STACK}
  pushfq
  push ${Selector.USER_CODE}
  push rdi
  iretq
leave_user:
  mov rsp, [${EventMemory.SAVED_STACK}]
  ret
print_seconds:                    ; rax: ticks of a clock that makes a thousand million a second
  xor edx, edx
  mov ecx, 1000
  div rcx
  xor edx, edx
  mov ecx, 1000000
  div rcx
  push rdx
  call putdec
  mov al, '.'
  call putc
  pop rax
  mov ecx, 100000
.digit:
  xor edx, edx
  div rcx
  push rdx
  add al, '0'
  call putc
  mov eax, ecx
  xor edx, edx
  mov ecx, 10
  div rcx
  mov ecx, eax
  pop rax
  test ecx, ecx
  jnz .digit
  ret
read_clock:
  rdtsc
  shl rdx, 32
  or rax, rdx
  ret
`;

const gate = (vector: number, handler: string, kind: number): string => `
  mov rdi, ${Layout.IDT + vector * DESCRIPTOR_BYTES}
  mov rax, ${handler}
  mov edx, ${kind}
  call set_gate
`;

/** Runs a test between its two lines: its work is in R12, what it sums up in R13. */
const timed = (texts: Texts, { name, amount, gates }: EventTest, i: number, divisor: number): string => `
  ${gates.map(({ vector, handler, user }) => gate(vector, handler, user ? USER_GATE : KERNEL_GATE)).join('')}
  ${texts.say(`BENCH-START ${name}`)}
  call newline
  call read_clock
  push rax
  mov r12d, ${Math.max(1, Math.floor(amount / divisor))}
  xor r13d, r13d
  call event_test_${i}
  call read_clock
  pop rbp
  sub rax, rbp
  mov rbp, rax
  ${texts.say(`BENCH ${name} `)}
  mov rax, rbp
  call print_seconds
  mov al, ' '
  call putc
  mov rax, r13
  call puthex
  call newline
`;

/**
 * A list of benchmarks for what a kernel does at its edges (interrupts, faults, system calls, page tables), in the form of the benchmark guest's lines:
 * `BENCH-START name`, `BENCH name seconds checksum`.
 */
export function eventsImage({ divisor = 1, tests = eventNames }: EventsOptions = {}): GuestImage {
  const texts = new Texts();
  const main = `
main:
  call set_up
  ${gate(LEAVE_USER, 'leave_user', USER_GATE)}
  ${texts.say('Nestvm events')}
  call newline
  ${eventTests.map((test, i) => (tests.includes(test.name) ? timed(texts, test, i, divisor) : '')).join('')}
  ${texts.say('BENCH-END')}
  call newline
  xor eax, eax
  jmp power_off
`;
  const code = eventTests.map((test, i) => `event_test_${i}:\n${test.code(`event_test_${i}`)}`).join('\n');
  return buildImage('nestvm-events', main + setUp + code + descriptors, texts, EventMemory.END, true);
}
