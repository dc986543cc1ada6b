import { assemble } from '@nestvm/assembler';
import { Layout } from './layout.js';
import { enterLongMode, loadSegments } from './long-mode.js';

/** A guest that a multiboot loader starts (`nestvm run -kernel`, `qemu-system-x86_64 -kernel`). */
export interface GuestImage {
  readonly name: string;
  /** The file: multiboot 1, with addresses in its header. */
  readonly bytes: Uint8Array;
  /** Addresses of the program's labels. */
  readonly labels: ReadonlyMap<string, number>;
  /** RAM that it needs, in bytes. */
  readonly memoryBytes: number;
}

const MULTIBOOT_MAGIC = 0x1badb002;
const HAS_ADDRESSES = 0x10000;

/** Multiboot header, the way into 64-bit mode, and a descriptor table; goes on at `start`. */
const prologue = `
  bits 32
header:
  dd ${MULTIBOOT_MAGIC}, ${HAS_ADDRESSES}, ${2 ** 32 - MULTIBOOT_MAGIC - HAS_ADDRESSES}
  dd header, header, load_end, ${Layout.END}, entry32
  align 16
entry32:
  cli
  mov esp, ${Layout.STACK}
  mov dword ptr [${Layout.PML4}], ${Layout.PDPT + 7}
  mov dword ptr [${Layout.PDPT}], ${Layout.PD + 7}
  mov edi, ${Layout.PD}
  mov eax, 0x87                   ; present, writable, user, 2 MiB
  mov ecx, 512
.map:
  mov [edi], eax
  add eax, 0x200000
  add edi, 8
  loop .map
  ${enterLongMode('start')}

  bits 64
  align 16
start:                            ; a hypervisor of ours enters its guest here
  ${loadSegments(Layout.STACK)}
  jmp main

  align 16
gdt:
  dq 0
  dq 0x00af9b000000ffff           ; 08: 64-bit code
  dq 0x00cf93000000ffff           ; 10: data
  dw 0x67, tss_low
  db tss_middle, 0x89, 0, 0       ; 18: task state
  dq 0
gdt_end:
gdt_pointer:
  dw 39
  dd gdt, 0
`;

/** Waits until the first serial port takes a character. */
const waitForPort = `
  push rax
  mov dx, 0x3fd
.full:
  in al, dx
  test al, 0x20
  jz .full
  pop rax
`;

/** Output on the first serial port: one character at a time; hypervisors of ours and their guests do not wait, since every level below is ours. */
const consoleText = (waits: boolean): string => `
putc:                             ; al
  push rdx
  ${waits ? waitForPort : ''}
  mov dx, 0x3f8
  out dx, al
  pop rdx
  ret
puts:                             ; rsi: text that ends with a zero
  lodsb
  test al, al
  jz .done
  call putc
  jmp puts
.done:
  ret
putdec:                           ; rax
  push rbx
  push rcx
  push rdx
  mov ebx, 10
  xor ecx, ecx
.divide:
  xor edx, edx
  div rbx
  push rdx
  inc ecx
  test rax, rax
  jnz .divide
.print:
  pop rax
  add al, '0'
  call putc
  loop .print
  pop rdx
  pop rcx
  pop rbx
  ret
puthex:                           ; rax
  push rcx
  push rdx
  mov rdx, rax
  mov ecx, 16
.digit:
  rol rdx, 4
  mov eax, edx
  and eax, 15
  cmp al, 10
  jb .decimal
  add al, 39
.decimal:
  add al, '0'
  call putc
  loop .digit
  pop rdx
  pop rcx
  ret
newline:
  mov al, 13
  call putc
  mov al, 10
  jmp putc
`;

/** Ends the machine: isa-debug-exit at 0xf4 where there is one, else it halts. */
const powerOff = `
power_off:                        ; al: status
  out 0xf4, al
  cli
.halt:
  hlt
  jmp .halt
`;

/** Texts that a program prints: each gets a label. */
export class Texts {
  private readonly lines: string[] = [];

  /** Code that prints a text (without a line end). */
  say(text: string): string {
    const label = `text_${this.lines.length}`;
    this.lines.push(`${label}: db "${text}", 0`);
    return `mov rsi, ${label}\n call puts\n`;
  }

  /** The data. */
  get data(): string {
    return this.lines.join('\n');
  }
}

/**
 * Makes an image of 64-bit code that begins at the label `main`, in 64-bit mode with interrupts off and the first gigabyte mapped onto itself.
 * @param waits whether it asks if the serial port is ready, as it must where another emulator may lose what comes too fast.
 */
export function buildImage(name: string, code: string, texts: Texts, memoryBytes: number, waits = false): GuestImage {
  const tss = 0x140300;
  const source = [prologue, consoleText(waits), powerOff, code, texts.data, 'align 16\nload_end:'].join('\n');
  const resolved = source.replace('tss_low', String(tss & 0xffff)).replace('tss_middle', String((tss >> 16) & 0xff));
  const { bytes, labels } = assemble(resolved, { origin: Layout.IMAGE });
  return { name, bytes, labels, memoryBytes };
}
