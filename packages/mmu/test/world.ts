import { Cr0, Cr4, Efer, Rflags, vcpuState } from '@nestvm/isa';
import type { Arena } from '@nestvm/memory';
import { createArena, PhysicalMemory } from '@nestvm/memory';
import type { MmuOptions } from '../src/index.js';
import { Access, Mmu, mmuState, TLB_ENTRIES, TLB_ENTRY_BYTES, TlbTable } from '../src/index.js';
import { SECOND_TLB_ENTRIES, secondTlbIndex, secondTlbOffset, TRAPPING } from '../src/tlb/layout.js';
import type { OracleAccess, OracleMode } from './oracle.js';

const { offset } = vcpuState;
/** RAM below 64 KiB and 64 KiB above 4 GiB; the rest is nothing. */
export const RAM_BYTES = 0x1_0000;
export const HIGH_RAM = 0x1_0000_0000;
const TABLES = { read: TlbTable.READ, write: TlbTable.WRITE, fetch: TlbTable.EXEC };

/** Registers of the vCPU under test, in the manual's names. */
export interface Registers {
  cr0: number;
  cr3: bigint;
  cr4: number;
  efer: number;
  cpl: number;
  ac: boolean;
  pkru: number;
  pkrs: number;
}

/** Bytes shared by all vCPUs of a test. */
export function createGuest(): { arena: Arena; memory: PhysicalMemory } {
  const arena = createArena({ bytes: 6 << 20 });
  const memory = new PhysicalMemory({ arena });
  memory.mapRam(0, RAM_BYTES, arena.allocate('ram', RAM_BYTES, 4096));
  memory.mapRam(HIGH_RAM, RAM_BYTES, arena.allocate('high ram', RAM_BYTES, 4096));
  return { arena, memory };
}

/** A vCPU with an MMU, and what generated code and the manual would make of its state. */
export class World {
  readonly mmu: Mmu;
  readonly registers: Registers = { cr0: Cr0.PE | Cr0.PG, cr3: 0n, cr4: Cr4.PAE, efer: Efer.LMA | Efer.LME, cpl: 0, ac: false, pkru: 0, pkrs: 0 };
  private readonly base: number;

  constructor(
    readonly arena: Arena,
    readonly memory: PhysicalMemory,
    readonly options: { maxPhysicalAddress: number; pages1g: boolean } & Pick<MmuOptions, 'banks' | 'evict' | 'sanitize'>,
  ) {
    this.base = arena.allocate('vcpu', vcpuState.size);
    this.mmu = new Mmu({ memory, vcpuBase: this.base, ...options });
  }

  /** Stores the registers in the vCPU state and tells the MMU. */
  apply(): void {
    this.load();
    this.mmu.setContext();
  }

  /** Stores the registers in the vCPU state, as a world switch does before it tells the MMU. */
  load(): void {
    const { registers: r, arena, base } = this;
    const set = (field: keyof typeof offset, value: number): void => {
      arena.i32[(base + offset[field]) / 4] = value;
    };
    set('cr0', r.cr0);
    set('cr4', r.cr4);
    set('efer', r.efer);
    set('cpl', r.cpl);
    set('rflags', r.ac ? Rflags.AC | Rflags.ONE : Rflags.ONE);
    set('pkru', r.pkru);
    set('pkrs', r.pkrs);
    set('cr3', Number(r.cr3 & 0xffff_ffffn) | 0);
    arena.i32[(base + offset.cr3) / 4 + 1] = Number(r.cr3 >> 32n) | 0;
  }

  /** CR3 as the vCPU state has it. */
  readCr3(): bigint {
    return this.arena.view.getBigUint64(this.base + offset.cr3, true);
  }

  /** Reads physical memory as the naive walker wants it: all ones where there is nothing. */
  readonly read = (address: bigint, bytes: 4 | 8): bigint => {
    const at = Number(address);
    const low = BigInt(this.memory.read32(at));
    return bytes === 4 ? low : low | (BigInt(this.memory.read32(at + 4)) << 32n);
  };

  /** The mode as the manual names it. */
  mode(): OracleMode {
    const { cr0, cr3, cr4, efer, ac, cpl, pkru, pkrs } = this.registers;
    const pdpte = [0, 1, 2, 3].map((i) => this.arena.view.getBigUint64(this.mmu.stateBase + mmuState.offset.pdpte + i * 8, true));
    const has = (value: number, mask: number): boolean => (value & mask) !== 0;
    return {
      pg: has(cr0, Cr0.PG),
      wp: has(cr0, Cr0.WP),
      pae: has(cr4, Cr4.PAE),
      lma: has(efer, Efer.LMA),
      la57: has(cr4, Cr4.LA57),
      pse: has(cr4, Cr4.PSE),
      nxe: has(efer, Efer.NXE),
      smep: has(cr4, Cr4.SMEP),
      smap: has(cr4, Cr4.SMAP),
      pke: has(cr4, Cr4.PKE),
      pks: has(cr4, Cr4.PKS),
      ac: ac && cpl !== 3,
      pkru,
      pkrs,
      cr3,
      pdpte,
      read: this.read,
      ...this.options,
    };
  }

  /** Translates through the MMU. */
  translate(access: OracleAccess): boolean {
    const type = access.kind === 'read' ? Access.READ : access.kind === 'write' ? Access.WRITE : Access.EXECUTE;
    const lo = Number(access.linear & 0xffff_ffffn) | 0;
    const hi = Number((access.linear >> 32n) & 0xffff_ffffn) | 0;
    const kind = (access.implicit ? Access.IMPLICIT : 0) | (access.shadowStack === true ? Access.SHADOW_STACK : 0);
    return this.mmu.translate(lo, hi, type | kind, access.userMode);
  }

  /** What generated code would find in the TLB for an aligned access: an arena offset, or -1. */
  lookup(kind: OracleAccess['kind'], linear: bigint): number {
    const found = this.find(kind, linear);
    return kind === 'write' && (found & TRAPPING) !== 0 ? -1 : found;
  }

  /** The same for a write to a page of code. */
  lookupTrapping(linear: bigint): number {
    const found = this.find('write', linear);
    return found >= 0 && (found & TRAPPING) !== 0 ? found - TRAPPING : -1;
  }

  private find(kind: OracleAccess['kind'], linear: bigint): number {
    const lo = Number(linear & 0xffff_ffffn) | 0;
    const hi = Number((linear >> 32n) & 0xffff_ffffn) | 0;
    const first = this.slot(kind, (lo >>> 12) & (TLB_ENTRIES - 1));
    const second = this.slot(kind, 0) + (secondTlbOffset(TABLES[kind]) + secondTlbIndex(lo) * TLB_ENTRY_BYTES) / 4;
    const { i32 } = this.arena;
    for (const at of [first, second]) if (i32[at] === (lo & ~0xfff) && i32[at + 1] === hi) return (lo + i32[at + 2]!) >>> 0;
    return -1;
  }

  /** Every valid entry of the bank in force. */
  entries(): { kind: OracleAccess['kind']; linear: bigint }[] {
    const found: { kind: OracleAccess['kind']; linear: bigint }[] = [];
    for (const kind of ['read', 'write', 'fetch'] as const) {
      const first = this.slot(kind, 0);
      const second = first + secondTlbOffset(TABLES[kind]) / 4;
      const slots = [...Array(TLB_ENTRIES).keys()].map((index) => first + (index * TLB_ENTRY_BYTES) / 4);
      slots.push(...[...Array(SECOND_TLB_ENTRIES).keys()].map((index) => second + (index * TLB_ENTRY_BYTES) / 4));
      for (const at of slots) {
        const tag = (BigInt(this.arena.u32[at + 1]!) << 32n) | BigInt(this.arena.u32[at]!);
        if (tag !== 0xffff_ffff_ffff_ffffn) found.push({ kind, linear: tag });
      }
    }
    return found;
  }

  /** The explicit access of the current CPL. */
  access(kind: OracleAccess['kind'], linear: bigint): OracleAccess {
    return { kind, linear, userMode: this.registers.cpl === 3, implicit: false };
  }

  private slot(kind: OracleAccess['kind'], index: number): number {
    const field = kind === 'read' ? 'tlbRead' : kind === 'write' ? 'tlbWrite' : 'tlbExec';
    return (this.arena.u32[(this.base + offset[field]) / 4]! + index * TLB_ENTRY_BYTES) / 4;
  }
}
