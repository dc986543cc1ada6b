import { Mode, Segment, vcpuState } from '@nestvm/isa';
import { noteDataAccess } from '../events/debug.js';
import { SECOND_STAGE_VECTOR } from '../linear.js';
import { canonicalShift, nextPageHigh } from '../mode.js';
import { Access, SECOND_STAGE_FAULT } from '../ports/translation.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, DEVICE_PAGE, FAULT_VECTOR, MODE, SLOW_ADDRESS, TIME_SPAN, word } from '../words.js';
import { ExitReason, Record } from './record.js';

const AC = 17;
const SS = 12;
const GP = 13;
const PF = 14;
const SCRATCH = vcpuState.offset.scratch;
const EXIT_REASON = word('exitReason');
const EXIT_RECORD = word('exitRecord');
const PAGE = 4096;

/** Where the bytes of a slow access are. */
interface Lent {
  bytes: number;
  /** Guest-physical addresses of the first byte, and of the first byte on the second page. */
  first: number;
  second: number;
}

/**
 * What generated code cannot do by itself: TLB misses, accesses across pages, devices, watched and code pages, alignment checks.
 * One object serves all vCPUs; functions are called with (record, cpu base, bytes) and the linear address in the state.
 */
export class SlowAccess {
  private readonly byBase = new Map<number, Vcpu>();
  private last: Vcpu | null = null;
  private readonly lent: Lent = { bytes: 0, first: 0, second: 0 };
  private readonly u8: Uint8Array;

  constructor(
    buffer: ArrayBufferLike,
    private readonly beforeWrite: (arenaOffset: number, length: number) => boolean,
  ) {
    this.u8 = new Uint8Array(buffer);
  }

  /** Introduces a vCPU. */
  add(cpu: Vcpu): void {
    this.byBase.set(cpu.base, cpu);
  }

  private vcpu(base: number): Vcpu {
    if (this.last?.base !== base) this.last = this.byBase.get(base)!;
    return this.last;
  }

  private fault(cpu: Vcpu, record: number, vector: number, error: number | undefined): 0 {
    if (vector >= 0) cpu.raise(vector, error);
    cpu.w[EXIT_RECORD] = record;
    cpu.w[EXIT_REASON] = ExitReason.FAULT;
    return 0;
  }

  /** Translates all bytes of the access; false: a fault is recorded. */
  private locate(cpu: Vcpu, record: number, bytes: number, access: number): boolean {
    const { w, mmu } = cpu;
    const { lent } = this;
    w[EXIT_RECORD] = record;
    const lo = w[SLOW_ADDRESS]!;
    const hi = w[SLOW_ADDRESS + 1]!;
    const mode = w[MODE]!;
    const long = (mode & Mode.LONG) !== 0;
    if (long) {
      const top = hi >> canonicalShift(cpu);
      if (top !== 0 && top !== -1) {
        this.fault(cpu, record, this.segmentOf(record) === Segment.SS ? SS : GP, 0);
        return false;
      }
    }
    if ((mode & Mode.ALIGN) !== 0 && bytes <= 8 && (lo & (bytes - 1)) !== 0) {
      this.fault(cpu, record, AC, 0);
      return false;
    }
    const user = w[CPL] === 3;
    if (!mmu.translate(lo, hi, access, user)) return this.pageFault(cpu, record, lo, hi);
    if (mmu.apicAccess === true && cpu.virtualization?.apicAccess?.(cpu, bytes, access) === false) return this.refused(cpu, record);
    lent.first = mmu.physical;
    lent.second = -1;
    lent.bytes = bytes;
    if ((lo & (PAGE - 1)) + bytes <= PAGE) return true;
    const nextLo = ((lo | (PAGE - 1)) + 1) | 0;
    const nextHi = nextPageHigh(cpu, nextLo, hi);
    if (!mmu.translate(nextLo, nextHi, access, user)) return this.pageFault(cpu, record, nextLo, nextHi);
    lent.second = mmu.physical;
    return true;
  }

  /** Segment register that the instruction's memory operand uses; pushes and pops have none in their record and count as SS by their base. */
  private segmentOf(record: number): number {
    return this.u8[record + Record.SEGMENT]!;
  }

  /** The hypervisor extension has an exit to make. */
  private refused(cpu: Vcpu, record: number): false {
    cpu.w[FAULT_VECTOR] = SECOND_STAGE_VECTOR;
    this.fault(cpu, record, -1, undefined);
    return false;
  }

  private pageFault(cpu: Vcpu, record: number, lo: number, hi: number): false {
    if (cpu.mmu.fault === SECOND_STAGE_FAULT) return this.refused(cpu, record);
    cpu.setPageFaultAddress(lo, hi);
    this.fault(cpu, record, PF, cpu.mmu.errorCode);
    return false;
  }

  /** Host address when the whole access is plain memory of one page, else -1. Generated code comes here at once for the page that was a device's last. */
  private direct(cpu: Vcpu): number {
    if (this.lent.second >= 0) return -1;
    const { w } = cpu;
    const page = w[SLOW_ADDRESS]! & -PAGE;
    const host = cpu.mmu.arenaOffset;
    if (host < 0) {
      w[DEVICE_PAGE] = page;
      w[DEVICE_PAGE + 1] = w[SLOW_ADDRESS + 1]!;
    } else if (w[DEVICE_PAGE] === page) w[DEVICE_PAGE] = -1;
    return host;
  }

  private physicalOf(i: number): number {
    const { first, second } = this.lent;
    if (second < 0) return first + i;
    const onFirst = PAGE - (first % PAGE);
    return i < onFirst ? first + i : second + i - onFirst;
  }

  /** Copies the bytes at the located place to the scratch. */
  private fetch(cpu: Vcpu): void {
    const { memory, base } = cpu;
    const { bytes, first, second } = this.lent;
    const at = base + SCRATCH;
    const { u8 } = this;
    // A device may be asked for the time.
    cpu.w[TIME_SPAN] = 0;
    if (second < 0 && first % 4 === 0 && bytes >= 4) {
      for (let i = 0; i < bytes; i += 4) {
        const value = memory.read32(first + i);
        u8[at + i] = value;
        u8[at + i + 1] = value >>> 8;
        u8[at + i + 2] = value >>> 16;
        u8[at + i + 3] = value >>> 24;
      }
      return;
    }
    if (second < 0 && bytes === 2) {
      const value = memory.read16(first);
      u8[at] = value;
      u8[at + 1] = value >>> 8;
      return;
    }
    for (let i = 0; i < bytes; i++) u8[at + i] = memory.read8(this.physicalOf(i));
  }

  /** Copies the scratch to the located place. */
  private give(cpu: Vcpu): void {
    const { memory, base } = cpu;
    const { bytes, first, second } = this.lent;
    const at = base + SCRATCH;
    const { u8 } = this;
    cpu.w[TIME_SPAN] = 0;
    if (second < 0 && first % 4 === 0 && bytes >= 4) {
      for (let i = 0; i < bytes; i += 4)
        memory.write32(first + i, (u8[at + i]! | (u8[at + i + 1]! << 8) | (u8[at + i + 2]! << 16) | (u8[at + i + 3]! << 24)) >>> 0);
      return;
    }
    if (second < 0 && bytes === 2) return memory.write16(first, u8[at]! | (u8[at + 1]! << 8));
    for (let i = 0; i < bytes; i++) memory.write8(this.physicalOf(i), u8[at + i]!);
  }

  /** Loads: the host address of the bytes, or 0 after a fault. */
  hostRead(record: number, base: number, bytes: number): number {
    const cpu = this.vcpu(base);
    if (!this.locate(cpu, record, bytes, Access.READ)) return 0;
    noteDataAccess(cpu, cpu.w[SLOW_ADDRESS]!, cpu.w[SLOW_ADDRESS + 1]!, bytes, false);
    const host = this.direct(cpu);
    if (host >= 0) return host;
    this.fetch(cpu);
    return base + SCRATCH;
  }

  /** Stores what is in the scratch: 0 after a fault, 1 when done, else the host address where the caller may store it. */
  hostWrite(record: number, base: number, bytes: number): number {
    const cpu = this.vcpu(base);
    if (!this.locate(cpu, record, bytes, Access.WRITE)) return 0;
    noteDataAccess(cpu, cpu.w[SLOW_ADDRESS]!, cpu.w[SLOW_ADDRESS + 1]!, bytes, true);
    const host = this.direct(cpu);
    if (host >= 0 && this.beforeWrite(host, bytes)) return host;
    this.give(cpu);
    return 1;
  }

  /** Lends memory for read-modify-write: its host address, the scratch with a copy (then `hostCommit` follows), or 0 after a fault. */
  hostModify(record: number, base: number, bytes: number): number {
    const cpu = this.vcpu(base);
    if (!this.locate(cpu, record, bytes, Access.WRITE)) return 0;
    noteDataAccess(cpu, cpu.w[SLOW_ADDRESS]!, cpu.w[SLOW_ADDRESS + 1]!, bytes, true);
    const host = this.direct(cpu);
    if (host >= 0 && this.beforeWrite(host, bytes)) return host;
    this.fetch(cpu);
    return base + SCRATCH;
  }

  /** Writes back what `hostModify` lent in the scratch. */
  hostCommit(_record: number, base: number): void {
    this.give(this.vcpu(base));
  }

  /** Checks that bytes may be written: nonzero, or 0 after a fault. */
  hostProbe(record: number, base: number, bytes: number): number {
    return this.locate(this.vcpu(base), record, bytes, Access.WRITE) ? 1 : 0;
  }
}
