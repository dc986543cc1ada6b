import { Layout } from './layout.js';

/** Number of the MSR EFER. */
export const EFER = 0xc0000080;
const EFER_LME = 0x100;
const CR4_PAE = 0x20;
/** PG, WP, NE, ET, PE. */
const CR0 = 0x80010031;

/** From flat 32-bit code, with the page tables in place, to a label in 64-bit code ("Initializing IA-32e Mode"). */
export const enterLongMode = (label: string): string => `
  mov eax, ${CR4_PAE}
  mov cr4, eax
  mov eax, ${Layout.PML4}
  mov cr3, eax
  mov ecx, ${EFER}
  rdmsr
  or eax, ${EFER_LME}
  wrmsr
  mov eax, ${CR0}
  mov cr0, eax
  lgdt [gdt_pointer]
  jmp far 0x08:${label}
`;

/** The first instructions of 64-bit code: a stack, flat data segments, FS and GS empty. */
export const loadSegments = (stack: number): string => `
  mov rsp, ${stack}
  mov eax, 0x10
  mov ds, ax
  mov es, ax
  mov ss, ax
  xor eax, eax
  mov fs, ax
  mov gs, ax
  cld
`;
