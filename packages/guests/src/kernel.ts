import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { Layout, ramBytes } from './layout.js';

const TICKS = 20;
/** 1193182 Hz / 100. */
const PIT_DIVISOR = 11932;
const TIMER_VECTOR = 0x20;
const PAGE_FAULT = 14;
/** Linear address, outside the identity map, where the page-fault handler maps the scratch page. */
const FAULT_ADDRESS = 0x40000000;
const { IDT } = Layout;
const Variable = { TICKS: Layout.VARIABLES, FAULTS: Layout.VARIABLES + 8 } as const;

/** Interrupt gates, the PIC and the PIT. */
const setUp = `
set_gate:                         ; rdi: gate, rax: handler
  mov [rdi], ax
  mov word ptr [rdi+2], 0x08
  mov word ptr [rdi+4], 0x8e00
  shr rax, 16
  mov [rdi+6], ax
  shr rax, 16
  mov [rdi+8], eax
  ret
set_up_timer:
  mov al, 0x11                    ; PIC: edge, cascade, ICW4
  out 0x20, al
  mov al, ${TIMER_VECTOR}
  out 0x21, al
  mov al, 4
  out 0x21, al
  mov al, 1
  out 0x21, al
  mov al, 0xfe                    ; only line 0
  out 0x21, al
  mov al, 0x34                    ; PIT channel 0: rate generator
  out 0x43, al
  mov al, ${PIT_DIVISOR & 0xff}
  out 0x40, al
  mov al, ${PIT_DIVISOR >> 8}
  out 0x40, al
  ret
on_timer:
  push rax
  inc qword ptr [${Variable.TICKS}]
  mov al, 0x20
  out 0x20, al
  pop rax
  iretq
on_page_fault:                    ; maps the scratch page where the fault was
  push rax
  inc qword ptr [${Variable.FAULTS}]
  mov qword ptr [${Layout.NESTED_01}], ${Layout.NESTED_01 + 0x1000 + 3}
  mov qword ptr [${Layout.NESTED_01 + 0x1000}], ${Layout.SCRATCH + 3}
  mov qword ptr [${Layout.PDPT + 8}], ${Layout.NESTED_01 + 3}
  pop rax
  add rsp, 8                      ; the error code
  iretq
idt_pointer:
  dw 0xfff
  dq ${IDT}
`;

function main(texts: Texts): string {
  return `
main:
  ${texts.say('Nestvm kernel: 64-bit mode')}
  call newline
  mov rdi, ${IDT + TIMER_VECTOR * 16}
  mov rax, on_timer
  call set_gate
  mov rdi, ${IDT + PAGE_FAULT * 16}
  mov rax, on_page_fault
  call set_gate
  lidt [idt_pointer]
  ; paging: a write where nothing is mapped, read back through the other mapping
  mov rbx, ${FAULT_ADDRESS}
  mov rax, 0x4e657374
  mov [rbx], rax
  cmp rax, [${Layout.SCRATCH}]
  jne .broken
  ${texts.say('page faults: ')}
  mov rax, [${Variable.FAULTS}]
  call putdec
  call newline
  call set_up_timer
  sti
.wait:
  hlt
  cmp qword ptr [${Variable.TICKS}], ${TICKS}
  jb .wait
  cli
  ${texts.say('timer ticks: ')}
  mov rax, [${Variable.TICKS}]
  call putdec
  call newline
  ${texts.say('Nestvm kernel: done')}
  call newline
  xor eax, eax
  jmp power_off
.broken:
  ${texts.say('Nestvm kernel: the page is not where it was mapped')}
  call newline
  mov al, 1
  jmp power_off
`;
}

/** A 64-bit kernel that prints on the serial port, handles a page fault, counts timer interrupts and ends (status 1 of isa-debug-exit at 0xf4). */
export function kernelImage(): GuestImage {
  const texts = new Texts();
  return buildImage('nestvm-kernel', main(texts) + setUp, texts, ramBytes(1));
}
