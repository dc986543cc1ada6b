import type { GuestImage } from './image.js';
import { buildImage, Texts } from './image.js';
import { interruptsText } from './interrupts.js';
import { Layout, ramBytes, Variable } from './layout.js';

const TICKS = 20;
/** 1193182 Hz / 100. */
const PIT_DIVISOR = 11932;
const PAGE_FAULT = 14;
/** Linear address, outside the identity map, where the page-fault handler maps the scratch page. */
const FAULT_ADDRESS = 0x40000000;
const { IDT } = Layout;
const FAULTS = Layout.COUNTERS;

const pageFault = `
on_page_fault:                    ; maps the scratch page where the fault was
  push rax
  inc qword ptr [${FAULTS}]
  mov qword ptr [${Layout.NESTED_01}], ${Layout.NESTED_01 + 0x1000 + 3}
  mov qword ptr [${Layout.NESTED_01 + 0x1000}], ${Layout.SCRATCH + 3}
  mov qword ptr [${Layout.PDPT + 8}], ${Layout.NESTED_01 + 3}
  pop rax
  add rsp, 8                      ; the error code
  iretq
`;

function main(texts: Texts): string {
  return `
main:
  ${texts.say('Nestvm kernel: 64-bit mode')}
  call newline
  mov rdi, ${IDT + PAGE_FAULT * 16}
  mov rax, on_page_fault
  call set_gate
  call set_up_ticks
  ; paging: a write where nothing is mapped, read back through the other mapping
  mov rbx, ${FAULT_ADDRESS}
  mov rax, 0x4e657374
  mov [rbx], rax
  cmp rax, [${Layout.SCRATCH}]
  jne .broken
  ${texts.say('page faults: ')}
  mov rax, [${FAULTS}]
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
  return buildImage('nestvm-kernel', main(texts) + pageFault + interruptsText(PIT_DIVISOR), texts, ramBytes(1));
}
