import {
  createDeterministicRandom,
  createNullInterruptSource,
  Engine,
  Interpreter,
  type InterruptSource,
  reset,
  updateMode,
  Vcpu,
} from '@nestvm/cpu';
import { CPL, CR0, CR3, CR4, EFER, RFLAGS, RIP, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '@nestvm/cpu/extension';
import { Segment, vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';
import { attachSvm, ExitCode, type Svm, Vmcb } from '../../src/index.js';
import { HSAVE } from '../../src/words.js';

/** Places in the board's memory; linear addresses are physical ones, in the host and in the guest. */
export const At = {
  TABLES: 0x1000,
  IDT: 0x9000,
  HOST: 0x10000,
  GUEST: 0x20000,
  GUEST_STACK: 0x2f000,
  VMCB: 0x30000,
  HSAVE: 0x31000,
  IOPM: 0x32000,
  MSRPM: 0x36000,
  NESTED: 0x40000,
  HANDLER: 0x50000,
  GUEST_IDT: 0x58000,
} as const;

const RAM = 2 ** 21;
const GUEST_FLAGS = 2;
/** Shared by the boards of one file: an arena each would be slow. */
const BYTES = 2 ** 23 + 2 ** 22;

/** A controllable interrupt source. */
export class Lines {
  readonly source: InterruptSource = createNullInterruptSource();
  vector = -1;
  nmi = false;
  smi = false;
  init = false;

  constructor() {
    Object.assign(this.source, {
      intr: () => this.vector >= 0,
      acknowledge: () => {
        const { vector } = this;
        this.vector = -1;
        return vector;
      },
      takeNmi: () => this.take('nmi'),
      takeSmi: () => this.take('smi'),
      takeInit: () => this.take('init'),
    });
  }

  private take(line: 'nmi' | 'smi' | 'init'): boolean {
    const was = this[line];
    this[line] = false;
    return was;
  }
}

/** A host in 64-bit mode with a valid VMCB for a guest in 64-bit mode, over real memory, MMU and interpreter. */
export class Board {
  readonly arena = createArena({ bytes: BYTES });
  readonly memory = new PhysicalMemory({ arena: this.arena });
  readonly cpu: Vcpu;
  readonly svm: Svm;
  readonly interpreter: Interpreter;
  readonly lines = new Lines();
  readonly view: DataView;
  /** First word of the VMCB in the arena. */
  readonly v: number;
  readonly outputs: string[] = [];
  readonly platform: string[] = [];
  nowNs = 1000;

  constructor(
    model = 'EPYC,svm=on,vnmi=on,vgif=on,tsc-scale=on,pause-filter=on,pfthreshold=on,decodeassists=on,flushbyasid=on,v-vmsave-vmload=on,lbrv=on,avic=on,x2avic=on,idle-hlt=on,rdpru=on,invlpgb=on',
  ) {
    const ram = this.arena.allocate('ram', RAM, 4096);
    this.memory.mapRam(0, RAM, ram);
    this.view = new DataView(this.arena.memory.buffer, ram, RAM);
    const base = this.arena.allocate('vcpu', vcpuState.size, 16);
    const mmu = new Mmu({ memory: this.memory, vcpuBase: base });
    this.cpu = new Vcpu({
      index: 0,
      buffer: this.arena.memory.buffer,
      base,
      mmu,
      memory: this.memory,
      ports: { read: () => 0x5a, write: (port, width, value) => void this.outputs.push(`${port.toString(16)}/${width}=${value.toString(16)}`) },
      clock: { nowNs: () => this.nowNs },
      model: parseCpu(model, undefined, { nested: true }),
      random: createDeterministicRandom(1),
    });
    this.svm = attachSvm(this.cpu, { memory: this.memory, mmu });
    reset(this.cpu);
    this.cpu.connectInterrupts(this.lines.source);
    this.cpu.onPlatformEvent = (event) => void this.platform.push(event);
    this.interpreter = new Interpreter(this.cpu, new Engine(this.arena, this.memory, { recordBytes: 2 ** 18 }));
    this.v = (ram + At.VMCB) >>> 2;
    this.prepare();
  }

  /** Puts everything back as after construction. */
  prepare(): void {
    this.view.setInt32(0, 0);
    new Uint8Array(this.arena.memory.buffer, this.view.byteOffset, 0x60000).fill(0);
    reset(this.cpu);
    this.buildTables(At.TABLES, 0x83);
    this.buildTables(At.NESTED, 0x87);
    this.enterLongMode();
    this.buildVmcb();
    this.platform.length = 0;
    this.outputs.length = 0;
  }

  /** Identity mapping of 2 MiB by one large page with the given flags. */
  private buildTables(at: number, flags: number): void {
    const { view } = this;
    view.setUint32(at, (at + 0x1000) | 7, true);
    view.setUint32(at + 0x1000, (at + 0x2000) | 7, true);
    view.setUint32(at + 0x2000, flags, true);
  }

  private enterLongMode(): void {
    const { w, h } = this.cpu;
    w[CR3] = At.TABLES;
    w[CR4] = 0x20;
    w[EFER] = 0x1d00;
    w[CR0] = 0x80010011 | 0;
    w[CPL] = 0;
    w[RFLAGS] = GUEST_FLAGS;
    for (const segment of [Segment.ES, Segment.SS, Segment.DS]) {
      h[SEG_SELECTOR + segment] = 0x10;
      w[SEG_ATTRIBUTES + segment] = 0xc093;
      w[SEG_LIMIT + segment] = -1;
    }
    h[SEG_SELECTOR + Segment.CS] = 8;
    w[SEG_ATTRIBUTES + Segment.CS] = 0xa09b;
    w[SEG_LIMIT + Segment.CS] = -1;
    w[SEG_BASE + 2 * Segment.CS] = 0;
    this.cpu.set64('idtrBase', BigInt(At.IDT));
    w[RIP] = At.HOST;
    w[RIP + 1] = 0;
    w[HSAVE] = At.HSAVE;
    this.cpu.setGpr(0, BigInt(At.VMCB));
    this.cpu.setGpr(4, 0x1f000n);
    updateMode(this.cpu);
  }

  /** A guest with the host's tables and mode, with nested paging, that exits for everything it was told to. */
  private buildVmcb(): void {
    this.intercept(ExitCode.VMRUN, ExitCode.HLT, ExitCode.VMMCALL, ExitCode.SHUTDOWN);
    this.set(Vmcb.ASID, 1);
    this.set(Vmcb.IOPM_BASE, At.IOPM);
    this.set(Vmcb.MSRPM_BASE, At.MSRPM);
    this.set(Vmcb.NESTED_CONTROL, 1);
    this.set(Vmcb.NCR3, At.NESTED);
    this.set(Vmcb.G_PAT, 0x00070406, 0x00070406);
    for (const segment of [Vmcb.ES, Vmcb.SS, Vmcb.DS]) this.segment(segment, 0x10, 0xc93);
    this.segment(Vmcb.CS, 8, 0xa9b);
    this.set(Vmcb.GDTR + 1, 0xffff);
    this.set(Vmcb.IDTR + 1, 0xfff);
    this.set(Vmcb.IDTR + 2, At.GUEST_IDT);
    this.set(Vmcb.EFER, 0x1d00);
    this.set(Vmcb.CR0, 0x80010011 | 0);
    this.set(Vmcb.CR3, At.TABLES);
    this.set(Vmcb.CR4, 0x20);
    this.set(Vmcb.DR6, 0xffff0ff0 | 0);
    this.set(Vmcb.DR7, 0x400);
    this.set(Vmcb.RFLAGS, GUEST_FLAGS);
    this.set(Vmcb.RIP, At.GUEST);
    this.set(Vmcb.RSP, At.GUEST_STACK);
  }

  /** A segment register in the VMCB: flat, with the 12 attribute bits. */
  segment(at: number, selector: number, attributes: number, base = 0, limit = -1): void {
    this.set(at, selector | (attributes << 16), limit);
    this.set(at + 2, base);
  }

  /** Sets intercepts of exit codes from 60h on. */
  intercept(...codes: number[]): void {
    for (const code of codes) this.set(Vmcb.INTERCEPTS + (code >>> 5) - 3, this.get(Vmcb.INTERCEPTS + (code >>> 5) - 3) | (1 << (code & 31)));
  }

  set(word: number, lo: number, hi?: number): void {
    this.arena.i32[this.v + word] = lo;
    if (hi !== undefined) this.arena.i32[this.v + word + 1] = hi;
  }

  /** A word of the VMCB, unsigned. */
  get(word: number): number {
    return this.arena.i32[this.v + word]! >>> 0;
  }

  /** Puts code into memory. */
  code(at: number, ...bytes: number[]): void {
    bytes.forEach((byte, i) => this.memory.write8(at + i, byte));
  }

  /** A gate of 64-bit mode to `offset` in code segment 8; there must be a GDT for delivery, which `gdt` makes. */
  gate(idt: number, vector: number, offset: number): void {
    const at = idt + 16 * vector;
    this.view.setUint32(at, (8 << 16) | (offset & 0xffff), true);
    this.view.setUint32(at + 4, (offset & 0xffff0000) | 0x8e00, true);
  }

  /** Two flat descriptors, code at 8 and data at 10h, for host and guest. */
  gdt(at = 0x8000): void {
    this.view.setBigUint64(at + 8, 0x00af9b000000ffffn, true);
    this.view.setBigUint64(at + 16, 0x00cf93000000ffffn, true);
    this.cpu.set64('gdtrBase', BigInt(at));
    this.cpu.set32('gdtrLimit', 0xff);
    this.set(Vmcb.GDTR + 2, at);
  }

  /** Runs VMRUN (then HLT) in the host, with `guest` as the code of the guest; gives the exit code. */
  run(guest: readonly number[], budget = 1000): number {
    this.code(At.GUEST, ...guest);
    this.code(At.HOST, 0x0f, 0x01, 0xd8, 0xf4);
    this.interpreter.run(budget);
    return this.get(Vmcb.EXIT_CODE);
  }
}
