import { Layout, Variable } from './layout.js';

/** Vector of the timer's interrupt, at every level. */
export const TICK_VECTOR = 0x20;
const { IDT } = Layout;

/**
 * Interrupt gates, the PIC and the PIT: `set_up_ticks` makes ready for tick interrupts, which `on_tick` counts, and which someone must send;
 * `set_up_timer` makes the machine's PIT send them, every `divisor` periods of 1193182 Hz (65536 for 0).
 */
export const interruptsText = (divisor: number): string => `
set_gate:                         ; rdi: gate, rax: handler
  mov [rdi], ax
  mov word ptr [rdi+2], 0x08
  mov word ptr [rdi+4], 0x8e00
  shr rax, 16
  mov [rdi+6], ax
  shr rax, 16
  mov [rdi+8], eax
  ret
set_up_ticks:
  mov qword ptr [${Variable.TICKS}], 0
  mov qword ptr [${Variable.PENDING}], 0
  mov rdi, ${IDT + TICK_VECTOR * 16}
  mov rax, on_tick
  call set_gate
  lidt [idt_pointer]
  ret
set_up_timer:
  mov al, 0x11                    ; PIC: edge, cascade, ICW4
  out 0x20, al
  mov al, ${TICK_VECTOR}
  out 0x21, al
  mov al, 4
  out 0x21, al
  mov al, 1
  out 0x21, al
  mov al, 0xfe                    ; only line 0
  out 0x21, al
  mov al, 0x34                    ; PIT channel 0: rate generator
  out 0x43, al
  mov al, ${divisor & 0xff}
  out 0x40, al
  mov al, ${divisor >> 8}
  out 0x40, al
  ret
on_tick:
  push rax
  inc qword ptr [${Variable.TICKS}]
  mov qword ptr [${Variable.PENDING}], 1
  mov al, 0x20                    ; the end of the interrupt, for whoever is our PIC
  out 0x20, al
  pop rax
  iretq
idt_pointer:
  dw 0xfff
  dq ${IDT}
`;
