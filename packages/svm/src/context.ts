import { NestedLedger, type TransitionCounters, type Vcpu } from '@nestvm/cpu';
import type { PhysicalMemory } from '@nestvm/memory';
import { createGuestSpace, type GuestSpace, type Mmu } from '@nestvm/mmu';
import { Avic } from './avic/avic.js';
import { EXIT_INDICES } from './exits/codes.js';
import type { SvmFeatures } from './features.js';
import { createTransfers, type VmcbTransfers } from './transitions/transfers.js';

/** What the parts of SVM share about one vCPU. */
export class SvmContext {
  readonly cpu: Vcpu;
  readonly memory: PhysicalMemory;
  readonly mmu: Mmu;
  readonly features: SvmFeatures;
  /** The arena, where VMCBs lie in guest RAM. */
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
  readonly transfers: VmcbTransfers;
  readonly space: GuestSpace = createGuestSpace();
  /** First word of the VMCB in force in `i32`; valid in guest mode. */
  vmcb = 0;
  readonly avic: Avic = new Avic(this);
  /** Exit code of a write trap whose instruction is under way, -1: none; and RIP (low half) where the instruction ends. */
  writeTrap = -1;
  writeTrapRip = 0;
  tscOffsetLo = 0;
  tscOffsetHi = 0;
  readonly counters: TransitionCounters = { entries: 0, failedEntries: 0, exits: new Float64Array(EXIT_INDICES) };
  readonly ledger = new NestedLedger('vmcb');
  /** Called with a line for each exit and entry, for `-d svm`; null: silent. */
  trace: ((line: string) => void) | null = null;

  constructor(
    cpu: Vcpu,
    memory: PhysicalMemory,
    mmu: Mmu,
    features: SvmFeatures,
    /** All vCPUs of the machine, for doorbells. */
    readonly vcpus: () => readonly Vcpu[],
  ) {
    this.cpu = cpu;
    this.memory = memory;
    this.mmu = mmu;
    this.features = features;
    this.i32 = memory.arena.i32;
    this.u8 = memory.arena.u8;
    this.transfers = createTransfers(memory.arena, features.cet, features.canonicalShift);
  }

  /** First word of the RAM page at a physical address given as int32 halves; -1 when it is misaligned, out of reach or not RAM. */
  page(lo: number, hi: number): number {
    if ((lo & 0xfff) !== 0 || (hi & ~this.cpu.features.physicalHighMask) !== 0) return -1;
    const offset = this.memory.arenaOffsetOf((hi >>> 0) * 4294967296 + (lo >>> 0));
    return offset < 0 ? -1 : offset >>> 2;
  }
}
