import type { Vcpu } from '@nestvm/cpu';
import { Cr0, Cr4, Efer, Segment, vcpuState } from '@nestvm/isa';
import type { PhysicalMemory } from '@nestvm/memory';
import { Place, selectorsOf, type VectorMode } from './image.js';

/** Guest-physical addresses of what a tiny kernel needs; user pages are mapped at their own addresses. */
const Gpa = {
  pml4: 0x10000,
  lowPdpt: 0x11000,
  lowPd: 0x12000,
  lowPt: 0x13000,
  highPdpt: 0x14000,
  highPd: 0x15000,
  highPt: 0x16000,
  gdt: 0x17000,
  idt: 0x18000,
  tss: 0x19000,
  ldt: 0x1a000,
  handlers: 0x1b000,
  stack: 0x1c000,
  end: 0x1d000,
} as const;

/** RAM that the sandbox takes, from guest-physical address 0. */
export const SANDBOX_BYTES = 0x20000;

/** The kernel's linear addresses: the same, in the upper half. */
const KERNEL = 0xffff_8000_0000_0000n;
const HANDLER_BYTES = 8;
const KERNEL_CS = 0x10;
/** Exceptions that push an error code (SDM Vol. 3, "Error Code"). */
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);

/** Where a fault came from, as the processor pushed it. */
export interface Frame {
  readonly vector: number;
  readonly errorCode: number;
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly rsp: bigint;
}

/**
 * The smallest kernel around user code: page tables that map `Place` for the user, descriptor tables, and for each vector a handler that halts. An instruction is thus left
 * as any program leaves it: through the IDT.
 */
export class Sandbox {
  readonly #cpu: Vcpu;
  readonly #memory: PhysicalMemory;

  constructor(cpu: Vcpu, memory: PhysicalMemory) {
    this.#cpu = cpu;
    this.#memory = memory;
    this.#buildPages();
    this.#buildTables();
  }

  /** Segments and control registers for code of a mode at CPL 3. */
  enter(mode: VectorMode): void {
    const cpu = this.#cpu;
    cpu.set64('cr0', BigInt((Cr0.PE | Cr0.MP | Cr0.ET | Cr0.NE | Cr0.WP | Cr0.AM | Cr0.PG) >>> 0));
    cpu.set64('cr3', BigInt(Gpa.pml4));
    cpu.set64('cr4', BigInt(Cr4.PAE | Cr4.OSFXSR | Cr4.OSXMMEXCPT | Cr4.OSXSAVE | Cr4.FSGSBASE));
    cpu.set64('efer', BigInt(Efer.LME | Efer.LMA | Efer.NXE | Efer.SCE));
    cpu.set64('xcr0', 7n);
    cpu.set64('gdtrBase', KERNEL + BigInt(Gpa.gdt));
    cpu.set32('gdtrLimit', 0xff);
    cpu.set64('idtrBase', KERNEL + BigInt(Gpa.idt));
    cpu.set32('idtrLimit', 0xfff);
    this.#segment(Segment.LDTR, 0x50, 0x82, 0x1f, KERNEL + BigInt(Gpa.ldt));
    this.#segment(Segment.TR, 0x40, 0x8b, 0x67, KERNEL + BigInt(Gpa.tss));
    const { cs, ss, ds, es, fs, gs } = selectorsOf(mode);
    const small = mode === 16;
    this.#segment(Segment.CS, cs, small ? 0xfb : mode === 32 ? 0xc0fb : 0xa0fb, small ? 0xffff : 0xffff_ffff);
    this.#segment(Segment.SS, ss, small ? 0xf3 : 0xc0f3, small ? 0xffff : 0xffff_ffff);
    this.#segment(Segment.DS, ds, 0xc0f3, 0xffff_ffff);
    this.#segment(Segment.ES, es, 0xc0f3, 0xffff_ffff);
    this.#segment(Segment.FS, fs, 0x1_0000, 0);
    this.#segment(Segment.GS, gs, 0x1_0000, 0);
    cpu.set32('cpl', 3);
    cpu.set32('activity', 0);
    cpu.set32('interruptibility', 0);
    cpu.set64('cr2', 0n);
  }

  /** What the handler that the CPU halted in was called for; null when it is in none. */
  frame(): Frame | null {
    const at = Number(this.#cpu.rip - (KERNEL + BigInt(Gpa.handlers))) - 1;
    if (!(at >= 0 && at < 256 * HANDLER_BYTES) || at % HANDLER_BYTES !== 0) return null;
    const vector = at / HANDLER_BYTES;
    const bytes = new Uint8Array(48);
    const stack = Number(this.#cpu.gpr(4) - KERNEL);
    this.#memory.read(stack, bytes);
    const view = new DataView(bytes.buffer);
    const skip = WITH_ERROR.has(vector) ? 8 : 0;
    const quad = (index: number): bigint => view.getBigUint64(skip + 8 * index, true);
    return { vector, errorCode: skip ? view.getUint32(0, true) : 0, rip: quad(0), rflags: quad(2), rsp: quad(3) };
  }

  #segment(index: number, selector: number, attributes: number, limit: number, base = 0n): void {
    const cpu = this.#cpu;
    cpu.set32('segAttributes', attributes, index);
    cpu.set32('segLimit', limit, index);
    cpu.set64('segBase', base, index);
    cpu.h[(vcpuState.offset.segSelector >>> 1) + index] = selector;
  }

  #write(gpa: number, values: readonly bigint[]): void {
    const bytes = new Uint8Array(8 * values.length);
    const view = new DataView(bytes.buffer);
    values.forEach((value, i) => view.setBigUint64(8 * i, BigInt.asUintN(64, value), true));
    this.#memory.write(gpa, bytes);
  }

  #buildPages(): void {
    const user = 7n;
    const supervisor = 3n;
    this.#write(Gpa.pml4, [BigInt(Gpa.lowPdpt) | user]);
    this.#write(Gpa.pml4 + 8 * 256, [BigInt(Gpa.highPdpt) | supervisor]);
    this.#write(Gpa.lowPdpt, [BigInt(Gpa.lowPd) | user]);
    this.#write(Gpa.lowPd, [BigInt(Gpa.lowPt) | user]);
    this.#write(Gpa.highPdpt, [BigInt(Gpa.highPd) | supervisor]);
    this.#write(Gpa.highPd, [BigInt(Gpa.highPt) | supervisor]);
    const map = (table: number, from: number, bytes: number, rights: bigint): void => {
      for (let gpa = from; gpa < from + bytes; gpa += 0x1000) this.#write(table + (gpa >> 12) * 8, [BigInt(gpa) | rights | 0x60n]);
    };
    map(Gpa.lowPt, Place.code, Place.codeBytes, user);
    map(Gpa.lowPt, Place.window, Place.windowBytes, user);
    map(Gpa.highPt, Gpa.gdt, Gpa.end - Gpa.gdt, supervisor);
  }

  #buildTables(): void {
    const code64 = 0x00af_9b00_0000_ffffn;
    const data = 0x00cf_9300_0000_ffffn;
    const level3 = 0x0000_6000_0000_0000n;
    const code32 = 0x00cf_9b00_0000_ffffn;
    const system = (address: bigint, limit: number, type: bigint): bigint[] => [
      BigInt(limit) | ((address & 0xff_ffffn) << 16n) | (type << 40n) | (((address >> 24n) & 0xffn) << 56n),
      (address >> 32n) & 0xffff_ffffn,
    ];
    const tss = system(KERNEL + BigInt(Gpa.tss), 0x67, 0x8bn);
    const ldt = system(KERNEL + BigInt(Gpa.ldt), 0x1f, 0x82n);
    this.#write(Gpa.gdt, [0n, 0n, code64, data, code32 | level3, data | level3, code64 | level3, 0n, ...tss, ...ldt]);
    this.#write(Gpa.ldt, [0x0000_fb00_0000_ffffn, 0x0000_f300_0000_ffffn]);
    // RSP0 is at offset 4 of the TSS: the low half in the first quadword.
    const stack = KERNEL + BigInt(Gpa.end);
    this.#write(Gpa.tss, [(stack & 0xffff_ffffn) << 32n, stack >> 32n]);
    for (let vector = 0; vector < 256; vector++) this.#buildGate(vector);
  }

  #buildGate(vector: number): void {
    const handler = KERNEL + BigInt(Gpa.handlers + vector * HANDLER_BYTES);
    const level = vector === 3 || vector === 4 ? 3n : 0n;
    const low = (handler & 0xffffn) | (BigInt(KERNEL_CS) << 16n) | ((0x8e00n | (level << 13n)) << 32n) | (((handler >> 16n) & 0xffffn) << 48n);
    this.#write(Gpa.idt + 16 * vector, [low, (handler >> 32n) & 0xffff_ffffn]);
    // HLT.
    this.#memory.write(Gpa.handlers + vector * HANDLER_BYTES, Uint8Array.of(0xf4));
  }
}
