import { Segment, vcpuState } from '@nestvm/isa';
import { At, type Board } from './board.js';

/** Where what page faults need lies. */
const IDT = 0x5000;
const GDT = 0x6000;
const HANDLER = 0x7000;
const PAGE_TABLE = 0x8000;
const PAGE_DIRECTORY = 0x3000;
const CODE_SELECTOR = 8;
const PAGE_FAULT = 14;
const PAGE_BYTES = 4096;
const PRESENT = 1;
const WRITABLE = 2;

/** Where the second two megabytes of linear memory, in small pages, show the first ones. */
const ALIAS = 0x20_0000;
/** The data, where its pages may be missing. */
export const FAULTING_DATA = ALIAS + At.DATA;
const FIRST = At.DATA / PAGE_BYTES;
const COUNT = At.DATA_BYTES / PAGE_BYTES + 1;

/**
 * push rax; mov rax, cr2; shr rax, 12; and eax, 511; or qword [rax * 8 + the table], 3; mov rax, cr2; invlpg [rax]; pop rax; add rsp, 8; iretq: the page is there
 * from now on.
 */
const MAP_IT = [
  0x50, 0x0f, 0x20, 0xd0, 0x48, 0xc1, 0xe8, 12, 0x25, 0xff, 1, 0, 0, 0x48, 0x83, 0x0c, 0xc5, 0, 0x80, 0, 0, 3, 0x0f, 0x20, 0xd0, 0x0f, 0x01, 0x38,
  0x58, 0x48, 0x83, 0xc4, 8, 0x48, 0xcf,
];
const GATE = [HANDLER & 255, HANDLER >> 8, CODE_SELECTOR, 0, 0, 0x8e];
const CODE_DESCRIPTOR = [0, 0, 0, 0, 0, 0x9b, 0x20, 0];

/** Gives a board a handler of page faults that maps what is missing, and the data once more in small pages. */
export function handleFaults({ cpu, memory, state }: Board): void {
  memory.write(HANDLER, Uint8Array.from(MAP_IT));
  memory.write(IDT + 16 * PAGE_FAULT, Uint8Array.from(GATE));
  memory.write(GDT + CODE_SELECTOR, Uint8Array.from(CODE_DESCRIPTOR));
  memory.write32(PAGE_DIRECTORY + 8, PAGE_TABLE | PRESENT | WRITABLE);
  for (let page = 0; page < 256; page++) memory.write32(PAGE_TABLE + 8 * page, (page * PAGE_BYTES) | PRESENT | WRITABLE);
  cpu.set64('idtrBase', BigInt(IDT));
  cpu.set32('idtrLimit', 0xfff);
  cpu.set64('gdtrBase', BigInt(GDT));
  cpu.set32('gdtrLimit', 0xff);
  new DataView(state.buffer, state.byteOffset).setUint16(vcpuState.offset.segSelector + 2 * Segment.CS, CODE_SELECTOR, true);
}

/** Takes a page of the data away, or its right to be written; gives whether it had both. */
export function takePage({ memory, mmu }: Board, page: number, isWhole: boolean): boolean {
  const entry = PAGE_TABLE + 8 * (FIRST + (page % COUNT));
  const old = memory.read32(entry);
  memory.write32(entry, old & ~(isWhole ? PRESENT : WRITABLE));
  mmu.flushAll();
  return (~old & (PRESENT | WRITABLE)) === 0;
}
