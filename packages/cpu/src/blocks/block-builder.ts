import { DecodeStatus, decodeInto, Instruction } from '@nestvm/decoder';
import { Mode, Segment } from '@nestvm/isa';
import { PAGE_BYTES } from '@nestvm/memory';
import { handlerKey } from '../interpreter/facts.js';
import type { Handlers } from '../interpreter/handlers.js';
import { Link, Record, Slot } from '../interpreter/record.js';
import { RecordWriter } from '../interpreter/record-writer.js';
import { SECOND_STAGE_VECTOR } from '../linear.js';
import { nextPageHigh } from '../mode.js';
import { Access, SECOND_STAGE_FAULT } from '../ports/translation.js';
import { SYSTEM_INSTRUCTIONS, type SystemInstruction } from '../system/index.js';
import type { Vcpu } from '../vcpu.js';
import { RIP, SEG_LIMIT } from '../words.js';
import type { ArenaViews } from './arena-views.js';
import { unavailable } from './availability.js';
import type { CodeCache } from './code-cache.js';

const MAX_INSTRUCTIONS = 64;
const MAX_LENGTH = 15;
const STAGING = 32;

/** An instruction that TypeScript carries out: what was decoded, and why it does not run by itself. */
export interface SystemRecord {
  readonly insn: Readonly<Instruction>;
  /** Its implementation, null when there is none. */
  readonly meaning: SystemInstruction | null;
  /** True when the vCPU's extension may have an implementation that goes first. */
  readonly extended: boolean;
  /** Vector of the exception that the mode raises in its place (#UD, #NM), or -1. */
  readonly vector: number;
}

/** Fetch and decode: makes blocks of records from guest code. */
export class BlockBuilder {
  /** By the low half of a system record's immediate. */
  readonly systemRecords: SystemRecord[] = [];
  private readonly writer: RecordWriter;
  private readonly insn = new Instruction();
  private readonly staging = new Uint8Array(STAGING);
  /** The code cache's flushes when system records were last dropped with it. */
  private flushes = 0;
  /** Blocks made so far. */
  built = 0;
  /** For logs: told of each block, by the arena offset and the length of its bytes (those on its first page). */
  onBuilt: ((arenaOffset: number, mode: number, bytes: number) => void) | null = null;

  constructor(
    private readonly arena: ArenaViews,
    private readonly cache: CodeCache,
    private readonly handlers: Handlers,
  ) {
    this.writer = new RecordWriter(arena.u8, arena.u16, arena.i32);
  }

  /**
   * Decodes a block at an arena offset (RIP is in the vCPU's state, translated already). Gives the first record, or 0 when the very first instruction
   * cannot be fetched: then a fault is recorded.
   */
  build(cpu: Vcpu, arenaOffset: number, mode: number, linearLo: number, linearHi: number): number {
    this.built++;
    const { cache } = this;
    const start = cache.reserve(MAX_INSTRUCTIONS + 3);
    if (this.flushes !== cache.flushes) {
      this.flushes = cache.flushes;
      this.systemRecords.length = 0;
    }
    const inPage = arenaOffset % PAGE_BYTES;
    const bits = (mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16;
    const most = (mode & Mode.SINGLE) !== 0 ? 1 : MAX_INSTRUCTIONS;
    const rip = cpu.w[RIP]! >>> 0;
    const limit = bits === 64 ? Infinity : cpu.w[SEG_LIMIT + Segment.CS]! >>> 0;
    let record = start;
    let count = 0;
    let offset = 0;
    while (count < most) {
      const room = Math.min(PAGE_BYTES - inPage - offset, limit - rip - offset + 1);
      const length =
        room <= 0 ? DecodeStatus.NEED_MORE : decodeInto(this.insn, this.arena.u8, arenaOffset + offset, Math.min(room, MAX_LENGTH + 1), bits);
      if (length <= 0) {
        if (count > 0) break;
        if (length === DecodeStatus.NEED_MORE) return this.buildCrossing(cpu, arenaOffset, mode, linearLo, linearHi, bits);
        return this.finish(arenaOffset, mode, start, this.fault(record, length === DecodeStatus.TOO_LONG ? 13 : 6), MAX_LENGTH, room);
      }
      const ended = this.instruction(cpu, record, inPage, offset, length, count, mode);
      record += Record.BYTES;
      count++;
      offset += length;
      if (ended) return this.finish(arenaOffset, mode, start, record, offset, offset);
    }
    this.writer.head(record, Slot.FALL_THROUGH, offset, 0, count - 1);
    this.writer.jump(record, 0, Link.FAR, (mode & Mode.SINGLE) === 0 && inPage + offset < PAGE_BYTES ? Link.OPEN : Link.FAR);
    return this.finish(arenaOffset, mode, start, record + Record.BYTES, offset, offset);
  }

  /** Asks for the handler of an instruction that will come; compiled with all others at the next flush of the handlers. */
  foresee(bytes: Uint8Array, mode: number): void {
    const bits = (mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16;
    const { insn, handlers } = this;
    if (decodeInto(insn, bytes, 0, bytes.length, bits) > 0 && handlers.has(insn.row)) handlers.slotFor(handlerKey(insn, mode));
  }

  private finish(arenaOffset: number, mode: number, start: number, end: number, bytes: number, room: number): number {
    this.handlers.flush();
    if (this.onBuilt !== null) this.onBuilt(arenaOffset, mode, bytes);
    this.cache.add(arenaOffset, mode, start, (end - start) / Record.BYTES, Math.max(1, Math.min(bytes, room)));
    return start;
  }

  /** A record that raises an exception: the bytes are no instruction. */
  private fault(record: number, vector: number): number {
    const insn = Object.assign(new Instruction(), this.insn, { length: 0 });
    this.system(record, 0, 0, { insn, meaning: null, extended: false, vector });
    return record + Record.BYTES;
  }

  private system(record: number, offset: number, index: number, system: SystemRecord): void {
    this.writer.head(record, Slot.SYSTEM, offset, system.insn.length, index);
    this.keep(record, system);
  }

  /** Lets a record leave to TypeScript. */
  private keep(record: number, system: SystemRecord): void {
    this.arena.i32[(record + Record.IMMEDIATE) >>> 2] = this.systemRecords.length;
    this.systemRecords.push(system);
  }

  /** What TypeScript needs to carry the present instruction out. */
  private systemRecord(cpu: Vcpu, vector: number): SystemRecord {
    const name = this.insn.row.mnemonic;
    const meaning = SYSTEM_INSTRUCTIONS[name] ?? null;
    return { insn: Object.assign(new Instruction(), this.insn), meaning, extended: cpu.extensionInstructions[name] !== undefined, vector };
  }

  /** Writes one instruction's record; true when it ends the block. */
  private instruction(cpu: Vcpu, record: number, inPage: number, offset: number, length: number, index: number, mode: number): boolean {
    const { insn, handlers, writer } = this;
    const { row } = insn;
    const vector = unavailable(cpu, insn, mode);
    if (vector >= 0 || !handlers.has(row) || cpu.extensionInstructions[row.mnemonic] !== undefined) {
      this.system(record, offset, index, this.systemRecord(cpu, vector));
      return true;
    }
    writer.head(record, handlers.slotFor(handlerKey(insn, mode)), offset, length, index);
    writer.fields(record, insn, offset);
    if (row.operands[0]?.method === 'J') this.directJump(record, inPage, offset, length, mode);
    else if (row.mnemonic in SYSTEM_INSTRUCTIONS) this.keep(record, this.systemRecord(cpu, -1));
    return row.endsBlock;
  }

  private directJump(record: number, inPage: number, offset: number, length: number, mode: number): void {
    const next = offset + length;
    const target = next + this.insn.immediate;
    const single = (mode & Mode.SINGLE) !== 0;
    const link = (to: number): number => (!single && inPage + to >= 0 && inPage + to < PAGE_BYTES ? Link.OPEN : Link.FAR);
    this.writer.jump(record, target, link(target), link(next));
  }

  /** An instruction that lies on two pages (or cannot be fetched wholly): a block of its own, which checks at run time where the second page is. */
  private buildCrossing(cpu: Vcpu, arenaOffset: number, mode: number, lo: number, hi: number, bits: 16 | 32 | 64): number {
    const { staging, arena } = this;
    const inPage = arenaOffset % PAGE_BYTES;
    const first = PAGE_BYTES - inPage;
    staging.fill(0);
    staging.set(arena.u8.subarray(arenaOffset, arenaOffset + Math.min(first, MAX_LENGTH)));
    const secondLo = ((lo | 0xfff) + 1) | 0;
    const secondHi = nextPageHigh(cpu, secondLo, hi);
    const limit = bits === 64 ? Infinity : cpu.w[SEG_LIMIT + Segment.CS]! >>> 0;
    if (limit - (cpu.w[RIP]! >>> 0) + 1 <= Math.min(first, MAX_LENGTH)) return this.fetchFault(cpu, 13, 0);
    if (!cpu.mmu.translate(secondLo, secondHi, Access.EXECUTE, (mode & Mode.USER) !== 0)) {
      cpu.setPageFaultAddress(secondLo, secondHi);
      return cpu.mmu.fault === SECOND_STAGE_FAULT ? this.fetchFault(cpu, SECOND_STAGE_VECTOR, 0) : this.fetchFault(cpu, 14, cpu.mmu.errorCode);
    }
    const secondPhysical = cpu.mmu.physical;
    const second = cpu.mmu.arenaOffset;
    for (let i = first; i < MAX_LENGTH + 1; i++) staging[i] = cpu.memory.read8(secondPhysical + i - first);
    const length = decodeInto(this.insn, staging, 0, MAX_LENGTH + 1, bits);
    const start = this.cache.reserve(4);
    if (length <= 0) {
      cpu.raise(length === DecodeStatus.TOO_LONG ? 13 : 6, length === DecodeStatus.TOO_LONG ? 0 : undefined);
      return 0;
    }
    this.writer.head(start, Slot.CROSSING, 0, 0, 0);
    arena.i32[(start + Record.IMMEDIATE) >>> 2] = second;
    let record = start + Record.BYTES;
    const ended = this.instruction(cpu, record, inPage, 0, length, 0, mode);
    record += Record.BYTES;
    if (!ended) {
      this.writer.head(record, Slot.FALL_THROUGH, length, 0, 0);
      this.writer.jump(record, 0, Link.FAR, Link.FAR);
      record += Record.BYTES;
    }
    const result = this.finish(arenaOffset, mode, start, record, first, first);
    if (second >= 0) this.cache.addSecondPage(second, start, (record - start) / Record.BYTES, Math.max(1, length - first));
    return result;
  }

  private fetchFault(cpu: Vcpu, vector: number, error: number): 0 {
    cpu.raise(vector, error);
    return 0;
  }
}
