import type { E820Entry } from './e820.js';

/** Bytes to put into guest-physical memory before the guest starts. */
export interface BootWrite {
  /** What it is, for messages and `info`. */
  readonly name: string;
  /** Guest-physical address of the first byte. */
  readonly address: number;
  readonly bytes: Uint8Array;
  /** Size in bytes when larger than `bytes`: the rest is zero. */
  readonly size?: number;
}

/** A segment register's visible and hidden parts; attributes in the VMX access-rights format. */
export interface SegmentValue {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}

/** Registers by name; those that are left out are zero. */
export type EntryRegisters = Partial<Record<'rax' | 'rbx' | 'rcx' | 'rdx' | 'rsp' | 'rbp' | 'rsi' | 'rdi', number>>;

/** State of the bootstrap processor at the first instruction. */
export interface CpuEntry {
  readonly mode: 'real' | 'protected' | 'long';
  readonly rip: number;
  readonly registers: EntryRegisters;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly gdt: { readonly base: number; readonly limit: number };
  readonly idt: { readonly base: number; readonly limit: number };
  readonly segments: Readonly<Record<'es' | 'cs' | 'ss' | 'ds' | 'fs' | 'gs' | 'ldtr' | 'tr', SegmentValue>>;
}

/** What it takes to start a guest: memory contents and the processor's state. */
export interface BootPlan {
  readonly format: 'bzimage-64' | 'bzimage-32' | 'pvh' | 'multiboot' | 'multiboot2' | 'flat';
  readonly writes: readonly BootWrite[];
  readonly entry: CpuEntry;
}

/** A file as the loaders see it; `name` is for messages. */
export interface BootFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** A module (multiboot, PVH): a file and its command line. */
export interface BootModule extends BootFile {
  readonly commandLine?: string;
}

/** What all loaders need to know about the machine. */
export interface BootMemory {
  readonly e820: readonly E820Entry[];
  /** Guest-physical address of the RSDP, 0 without ACPI. */
  readonly rsdp?: number;
}

/** Where loaders put their own structures, below 640 KiB; the same in every plan so that dumps are easy to read. */
export const LowMemory = {
  BIOS_DATA: 0x400,
  GDT: 0x1000,
  START_INFO: 0x2000,
  MEMORY_MAP: 0x3000,
  PAGE_TABLES: 0x9000,
  BOOT_PARAMS: 0x10000,
  COMMAND_LINE: 0x20000,
  /** Multiboot information, its strings and module list. */
  MULTIBOOT: 0x30000,
  END: 0x9fc00,
} as const;
