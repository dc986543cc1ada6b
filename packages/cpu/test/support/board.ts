import { decodeInto, Instruction } from '@nestvm/decoder';
import { Mode, Segment, vcpuState } from '@nestvm/isa';
import { parseCpu } from '@nestvm/isa/models';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import { Mmu } from '@nestvm/mmu';
import { updateMode } from '../../src/mode.js';
import { Outcome } from '../../src/outcome.js';
import type { InterruptSource } from '../../src/ports/interrupts.js';
import { createDeterministicRandom } from '../../src/ports/random.js';
import { reset } from '../../src/reset.js';
import { SYSTEM_INSTRUCTIONS } from '../../src/system/index.js';
import { type PortAccess, Vcpu } from '../../src/vcpu.js';
import { CPL, FAULT_ERROR, FAULT_HAS_ERROR, FAULT_VECTOR, MODE, SEG_ATTRIBUTES, SEG_BASE, SEG_LIMIT, SEG_SELECTOR } from '../../src/words.js';

/** Places in the board's memory, mapped one to one. */
export const At = {
  PML4: 0x1000,
  PDPT: 0x2000,
  PD: 0x3000,
  PT: 0x4000,
  GDT: 0x8000,
  IDT: 0x9000,
  TSS: 0xa000,
  LDT: 0xb000,
  TSS2: 0xc000,
  CODE: 0x10000,
  STACK0: 0x21000,
  IST1: 0x23000,
  STACK3: 0x31000,
  DATA: 0x40000,
  HANDLER: 0x50000,
} as const;

/** Selectors of the board's GDT. */
export const Sel = {
  CODE0: 0x08,
  DATA0: 0x10,
  CODE3: 0x1b,
  DATA3: 0x23,
  LONG0: 0x28,
  LONG3: 0x33,
  TSS: 0x40,
  TSS2: 0x50,
  LDT: 0x60,
  CONFORMING: 0x70,
  CODE16: 0x78,
  DATA16: 0x80,
  FREE: 0x90,
} as const;

export interface DescriptorShape {
  readonly base?: number;
  readonly limit?: number;
  /** The 4 type bits. */
  readonly type: number;
  readonly system?: boolean;
  readonly dpl?: number;
  readonly present?: boolean;
  readonly long?: boolean;
  readonly big?: boolean;
  readonly granular?: boolean;
}

const BYTES = 2 ** 21;

/** A controllable interrupt source. */
export class TestInterrupts implements InterruptSource {
  msrLo = 0xfee00900 | 0;
  msrHi = 0;
  vector = -1;
  nmi = false;
  smi = false;
  init = false;
  sipi = -1;
  tpr = 0;
  wake: () => void = () => {};
  intr = (): boolean => this.vector >= 0;
  acknowledge(): number {
    const taken = this.vector;
    this.vector = -1;
    return taken;
  }
  private take(name: 'nmi' | 'smi' | 'init'): boolean {
    const was = this[name];
    this[name] = false;
    return was;
  }
  takeNmi = (): boolean => this.take('nmi');
  takeSmi = (): boolean => this.take('smi');
  takeInit = (): boolean => this.take('init');
  takeSipi(): number {
    const was = this.sipi;
    this.sipi = -1;
    return was;
  }
  readTpr = (): number => this.tpr;
  writeTpr(value: number): void {
    this.tpr = value;
  }
  readMsr = (index: number): boolean => index === 0x1b;
  writeMsr = (index: number): boolean => index === 0x1b;
  setWake(callback: () => void): void {
    this.wake = callback;
  }
}

/** What a fault must leave alone: everything but these caches and the record of the fault. */
const LOOSE = [
  'mode',
  'tlbRead',
  'tlbWrite',
  'tlbExec',
  'budget',
  'exitReason',
  'exitRecord',
  'faultVector',
  'faultError',
  'faultHasError',
  'slowAddress',
  'scratch',
  'blockRip',
  'pendingDebug',
  'cr2',
] as const;

/** A vCPU over real memory and a real MMU, with tables to put descriptors into. */
export class Board {
  readonly arena = createArena({ bytes: 2 ** 23 });
  readonly memory = new PhysicalMemory({ arena: this.arena });
  readonly ram: number;
  readonly view: DataView;
  /** Port writes so far; reads come from `inputs` by port, all ones otherwise. */
  readonly outputs: string[] = [];
  readonly inputs = new Map<number, () => number>();
  readonly ports: PortAccess = {
    read: (port, width) => (this.inputs.get(port)?.() ?? 0xffffffff) & (width === 4 ? -1 : width === 2 ? 0xffff : 0xff),
    write: (port, width, value) => void this.outputs.push(`${port.toString(16)}/${width}=${value.toString(16)}`),
  };
  readonly interrupts = new TestInterrupts();
  readonly cpu: Vcpu;
  nowNs = 1000;
  platform: string[] = [];

  /** `walks`: generated code may walk page tables by itself. */
  constructor(model = 'max', { walks = false }: { readonly walks?: boolean } = {}) {
    this.ram = this.arena.allocate('ram', BYTES, 4096);
    this.memory.mapRam(0, BYTES, this.ram);
    this.view = new DataView(this.arena.memory.buffer, this.ram, BYTES);
    const base = this.arena.allocate('vcpu', vcpuState.size, 16);
    const mmu = new Mmu({ memory: this.memory, vcpuBase: base, pages1g: walks });
    this.cpu = new Vcpu({
      index: 0,
      buffer: this.arena.memory.buffer,
      base,
      mmu,
      memory: this.memory,
      ports: this.ports,
      clock: { nowNs: () => this.nowNs },
      model: parseCpu(model),
      random: createDeterministicRandom(1),
    });
    reset(this.cpu);
    this.cpu.connectInterrupts(this.interrupts);
    this.cpu.onPlatformEvent = (event) => this.platform.push(event);
    this.buildTables();
  }

  private buildTables(): void {
    this.descriptor(Sel.CODE0, { type: 0xb, big: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.DATA0, { type: 3, big: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.CODE3 & ~3, { type: 0xb, dpl: 3, big: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.DATA3 & ~3, { type: 3, dpl: 3, big: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.LONG0, { type: 0xb, long: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.LONG3 & ~3, { type: 0xb, dpl: 3, long: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.TSS, { type: 9, system: true, base: At.TSS, limit: 0xfff });
    this.descriptor(Sel.TSS2, { type: 9, system: true, base: At.TSS2, limit: 0x67 });
    this.descriptor(Sel.LDT, { type: 2, system: true, base: At.LDT, limit: 0xff });
    this.descriptor(Sel.CONFORMING, { type: 0xf, big: true, granular: true, limit: 0xfffff });
    this.descriptor(Sel.CODE16, { type: 0xb, limit: 0xffff });
    this.descriptor(Sel.DATA16, { type: 3, limit: 0xffff });
    for (let i = 0; i < 512; i++) this.view.setBigUint64(At.PT + 8 * i, BigInt(i * 4096) | 7n, true);
    this.view.setBigUint64(At.PD, BigInt(At.PT) | 7n, true);
    this.view.setBigUint64(At.PDPT, BigInt(At.PD) | 7n, true);
    this.view.setBigUint64(At.PML4, BigInt(At.PDPT) | 7n, true);
  }

  /** Writes a descriptor into the GDT (selectors) at its place. */
  descriptor(selector: number, shape: DescriptorShape, table: number = At.GDT): void {
    const { base = 0, limit = 0, type, system = false, dpl = 0, present = true, long = false, big = false, granular = false } = shape;
    const lo = ((base & 0xffff) << 16) | (limit & 0xffff);
    const hi =
      (base & 0xff000000) |
      ((base >>> 16) & 0xff) |
      (limit & 0xf0000) |
      (type << 8) |
      (system ? 0 : 0x1000) |
      (dpl << 13) |
      (present ? 0x8000 : 0) |
      (long ? 1 << 21 : 0) |
      (big ? 1 << 22 : 0) |
      (granular ? 1 << 23 : 0);
    this.view.setInt32(table + (selector & ~7), lo, true);
    this.view.setInt32(table + (selector & ~7) + 4, hi, true);
  }

  /** Writes a gate descriptor. */
  gate(
    at: number,
    shape: {
      selector: number;
      offset: number;
      type: number;
      dpl?: number;
      present?: boolean;
      ist?: number;
      count?: number;
      offsetHigh?: number;
      wide?: boolean;
    },
  ): void {
    const { selector, offset, type, dpl = 0, present = true, ist = 0, count = 0, offsetHigh = 0, wide = false } = shape;
    this.view.setInt32(at, (selector << 16) | (offset & 0xffff), true);
    this.view.setInt32(at + 4, (offset & 0xffff0000) | (present ? 0x8000 : 0) | (dpl << 13) | (type << 8) | ist | count, true);
    if (!wide) return;
    this.view.setInt32(at + 8, offsetHigh, true);
    this.view.setInt32(at + 12, 0, true);
  }

  /** An IDT gate of 64-bit mode. */
  longGate(
    vector: number,
    shape: { selector?: number; offset?: number; type?: number; dpl?: number; present?: boolean; ist?: number; offsetHigh?: number } = {},
  ): void {
    this.gate(At.IDT + 16 * vector, { selector: Sel.LONG0, offset: At.HANDLER + vector * 16, type: 14, wide: true, ...shape });
  }

  /** Loads the hidden parts of a segment register straight from the GDT. */
  loadSegment(segment: number, selector: number): void {
    const at = At.GDT + (selector & ~7);
    const lo = this.view.getInt32(at, true);
    const hi = this.view.getInt32(at + 4, true);
    const { w, h } = this.cpu;
    const raw = (lo & 0xffff) | (hi & 0xf0000);
    h[SEG_SELECTOR + segment] = selector;
    w[SEG_ATTRIBUTES + segment] = (hi >>> 8) & 0xf0ff;
    w[SEG_LIMIT + segment] = (hi & (1 << 23)) !== 0 ? (raw << 12) | 0xfff : raw;
    w[SEG_BASE + 2 * segment] = (lo >>> 16) | ((hi & 0xff) << 16) | (hi & 0xff000000);
    w[SEG_BASE + 2 * segment + 1] = 0;
  }

  private loadTables(): void {
    const { cpu } = this;
    cpu.set64('gdtrBase', BigInt(At.GDT));
    cpu.set32('gdtrLimit', 0xfff);
    cpu.set64('idtrBase', BigInt(At.IDT));
    cpu.set32('idtrLimit', 0xfff);
    this.loadSegment(Segment.TR, Sel.TSS);
    cpu.w[SEG_ATTRIBUTES + Segment.TR] = cpu.w[SEG_ATTRIBUTES + Segment.TR]! | 2;
    this.view.setUint8(At.GDT + Sel.TSS + 5, this.view.getUint8(At.GDT + Sel.TSS + 5) | 2);
  }

  /** 64-bit mode (or compatibility mode) with paging, at a privilege level. */
  long(cpl: 0 | 3 = 0, compatibility = false): this {
    const { cpu } = this;
    this.loadTables();
    cpu.set64('cr0', 0x80050033n);
    cpu.set64('cr4', 0x6a0n);
    cpu.set64('cr3', BigInt(At.PML4));
    cpu.set64('efer', 0xd01n);
    this.loadSegment(Segment.CS, compatibility ? (cpl === 0 ? Sel.CODE0 : Sel.CODE3) : cpl === 0 ? Sel.LONG0 : Sel.LONG3);
    for (const segment of [Segment.SS, Segment.DS, Segment.ES, Segment.FS, Segment.GS]) this.loadSegment(segment, cpl === 0 ? Sel.DATA0 : Sel.DATA3);
    cpu.w[CPL] = cpl;
    cpu.rip = BigInt(At.CODE);
    cpu.setGpr(4, BigInt(cpl === 0 ? At.STACK0 : At.STACK3));
    this.view.setBigUint64(At.TSS + 4, BigInt(At.STACK0), true);
    this.view.setBigUint64(At.TSS + 0x24, BigInt(At.IST1), true);
    cpu.writeRflags(0x202);
    updateMode(cpu);
    return this;
  }

  /** 32-bit protected mode without paging. */
  protect(cpl: 0 | 3 = 0): this {
    const { cpu } = this;
    this.loadTables();
    cpu.set64('cr0', 0x11n);
    this.loadSegment(Segment.CS, cpl === 0 ? Sel.CODE0 : Sel.CODE3);
    for (const segment of [Segment.SS, Segment.DS, Segment.ES, Segment.FS, Segment.GS]) this.loadSegment(segment, cpl === 0 ? Sel.DATA0 : Sel.DATA3);
    cpu.w[CPL] = cpl;
    cpu.rip = BigInt(At.CODE);
    cpu.setGpr(4, BigInt(cpl === 0 ? At.STACK0 : At.STACK3));
    this.view.setUint32(At.TSS + 4, At.STACK0, true);
    this.view.setUint32(At.TSS + 8, Sel.DATA0, true);
    cpu.writeRflags(0x202);
    updateMode(cpu);
    return this;
  }

  /** Real mode with the vector table at 0. */
  real(): this {
    const { cpu } = this;
    cpu.set64('cr0', 0x10n);
    for (let segment = 0; segment < 6; segment++) {
      cpu.h[SEG_SELECTOR + segment] = 0;
      cpu.w[SEG_BASE + 2 * segment] = 0;
      cpu.w[SEG_LIMIT + segment] = 0xffff;
    }
    cpu.rip = 0x1000n;
    cpu.setGpr(4, 0x8000n);
    cpu.set32('idtrLimit', 0x3ff);
    cpu.set64('idtrBase', 0n);
    cpu.writeRflags(0x202);
    updateMode(cpu);
    return this;
  }

  /** Takes a page out of the page tables. */
  unmap(address: number): void {
    this.view.setBigUint64(At.PT + 8 * (address >>> 12), 0n, true);
    this.cpu.mmu.flushAll();
  }

  decode(bytes: readonly number[]): Instruction {
    const mode = this.cpu.w[MODE]!;
    const insn = new Instruction();
    const length = decodeInto(
      insn,
      Uint8Array.from([...bytes, ...new Array<number>(16).fill(0)]),
      0,
      bytes.length,
      (mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16,
    );
    if (length !== bytes.length) throw new Error(`bytes ${bytes.map((b) => b.toString(16)).join(' ')} decode to length ${length}`);
    return insn;
  }

  /** Carries out one system instruction as the dispatcher does; a fault must have left the whole state alone. */
  execute(...bytes: number[]): Outcome {
    const { cpu } = this;
    const insn = this.decode(bytes);
    const before = cpu.b.slice();
    const meaning = SYSTEM_INSTRUCTIONS[insn.row.mnemonic];
    if (meaning === undefined) throw new Error(`${insn.row.mnemonic} is no system instruction`);
    const mode = cpu.w[MODE]!;
    let outcome: Outcome;
    if (insn.row.protectedOnly && (mode & Mode.PROTECTED) === 0) outcome = cpu.raise(6);
    else if (insn.row.cpl0 && cpu.w[CPL] !== 0) outcome = cpu.raise(13, 0);
    else outcome = meaning(cpu, insn);
    if (outcome === Outcome.FAULT) this.assertUnchanged(before, insn.row.mnemonic);
    if (outcome === Outcome.NEXT) cpu.rip += BigInt(insn.length);
    return outcome;
  }

  assertUnchanged(before: Uint8Array, what: string): void {
    const after = this.cpu.b.slice();
    for (const field of LOOSE) {
      const { type, count } = vcpuState.fields[field];
      const bytes = { u8: 1, u16: 2, u32: 4, u64: 8, bytes: 1 }[type] * count;
      after.set(before.subarray(vcpuState.offset[field], vcpuState.offset[field] + bytes), vcpuState.offset[field]);
    }
    for (let i = 0; i < after.length; i++) {
      if (after[i] === before[i]) continue;
      const field = Object.entries(vcpuState.offset)
        .filter(([, offset]) => offset <= i)
        .at(-1);
      throw new Error(`${what} faulted, but changed byte ${i} of the state (${field?.[0]})`);
    }
  }

  /** The recorded fault as `vector` or `vector:error`. */
  get fault(): string {
    const { w } = this.cpu;
    return w[FAULT_HAS_ERROR] === 0 ? `${w[FAULT_VECTOR]}` : `${w[FAULT_VECTOR]}:${w[FAULT_ERROR]!.toString(16)}`;
  }

  /** Runs an instruction that must fault: gives the fault. */
  faults(...bytes: number[]): string {
    const outcome = this.execute(...bytes);
    return outcome === Outcome.FAULT ? this.fault : `outcome ${outcome}`;
  }

  selector(segment: number): number {
    return this.cpu.h[SEG_SELECTOR + segment]!;
  }

  /** 64-bit words of memory from an address up. */
  quads(address: number, count: number): bigint[] {
    return Array.from({ length: count }, (_, i) => this.view.getBigUint64(address + 8 * i, true));
  }

  dwords(address: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.view.getUint32(address + 4 * i, true));
  }

  words(address: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.view.getUint16(address + 2 * i, true));
  }
}
