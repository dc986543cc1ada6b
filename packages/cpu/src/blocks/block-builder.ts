import { DecodeStatus, decodeInto, Instruction } from '@nestvm/decoder';
import { Mode, type OpcodeRow, opcodeRows, Segment } from '@nestvm/isa';
import { PAGE_BYTES } from '@nestvm/memory';
import { underCet } from '../cet/governed.js';
import { atBranchTarget } from '../cet/tracker.js';
import { handlerForm } from '../interpreter/facts.js';
import type { Handlers } from '../interpreter/handlers.js';
import { HEAD_LENGTH, Link, Record, Slot } from '../interpreter/record.js';
import { RecordWriter } from '../interpreter/record-writer.js';
import { SECOND_STAGE_VECTOR } from '../linear.js';
import { nextPageHigh } from '../mode.js';
import { underMpx } from '../mpx/governed.js';
import { Outcome } from '../outcome.js';
import { Access, SECOND_STAGE_FAULT } from '../ports/translation.js';
import { SYSTEM_INSTRUCTIONS, type SystemInstruction } from '../system/index.js';
import type { Vcpu } from '../vcpu.js';
import { RIP, SEG_LIMIT } from '../words.js';
import type { ArenaViews } from './arena-views.js';
import { isAlwaysAvailable, readAsModel, unavailable } from './availability.js';
import type { CodeCache } from './code-cache.js';
import { Patterns } from './patterns.js';
import { kindOf, RowKind } from './row-kind.js';

const MAX_INSTRUCTIONS = 64;
/** Records of a block: its instructions, heads before them, the way on behind. */
const MAX_RECORDS = MAX_INSTRUCTIONS + 4;
/** So often are units joined to larger ones. */
const LEVELS = 2;
const MAX_LENGTH = 15;
const STAGING = 32;
/** What is known of whether a row is ordinary. */
const Ordinary = { UNKNOWN: 0, YES: 1, NO: 2 } as const;
const UD = 6;
const GP = 13;
const PF = 14;
/** Bytes that are none, as the tracker of branches sees them. */
const NO_INSTRUCTION = new Instruction();

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

/** What CET or MPX make of an instruction; a branch that concerns both is MPX's, which carries out what is CET's, too. */
function governing(insn: Readonly<Instruction>, mode: number): SystemInstruction | null {
  if ((mode & Mode.ENDBRANCH) !== 0) return underCet(insn, mode);
  return ((mode & Mode.MPX) !== 0 ? underMpx(insn, mode) : null) ?? ((mode & Mode.CET) !== 0 ? underCet(insn, mode) : null);
}

/** Fetch and decode: makes blocks of records from guest code. */
export class BlockBuilder {
  /** By the low half of a system record's immediate. */
  readonly systemRecords: SystemRecord[] = [];
  private readonly writer: RecordWriter;
  private readonly patterns: Patterns;
  /** What was decoded last. */
  private insn = new Instruction();
  private readonly staging = new Uint8Array(STAGING);
  private readonly heads = new Int32Array(MAX_RECORDS + 1);
  private readonly ordinary = new Uint8Array(opcodeRows.length);
  /** The code cache's flushes when system records were last dropped with it. */
  private flushes = 0;
  /** While a block that is good once is made; and where such blocks keep their system record, -1 for nowhere yet. */
  private loose = false;
  private looseRecord = -1;
  /** The record of the last instruction, if that was STI. */
  private shadowing = -1;
  /** Turns after which a new block of an arena page is reported as hot; null for never: then blocks have no heads. */
  turns: ((arenaPage: number) => number) | null = null;
  /** Bits of `Mode` that blocks may have to be counted. */
  countedModes = 0;
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
    this.patterns = new Patterns(arena);
  }

  /**
   * Decodes a block at an arena offset (RIP is in the vCPU's state, translated already). Gives the first record, or 0 when the very first instruction
   * cannot be fetched: then a fault is recorded.
   */
  build(cpu: Vcpu, arenaOffset: number, mode: number, linearLo: number, linearHi: number): number {
    this.built++;
    const start = this.reserve(MAX_RECORDS);
    const inPage = arenaOffset & (PAGE_BYTES - 1);
    const bits = (mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16;
    const most = (mode & Mode.SINGLE) !== 0 ? 1 : MAX_INSTRUCTIONS;
    const rip = cpu.w[RIP]! >>> 0;
    const limit = bits === 64 ? Infinity : cpu.w[SEG_LIMIT + Segment.CS]! >>> 0;
    let record = this.head(this.limitHead(start, mode), arenaOffset, mode);
    const root = (mode & Mode.GOVERNED) === 0 ? this.patterns.rootOf(mode) : 0;
    let count = 0;
    let offset = 0;
    while (count < most) {
      const room = Math.min(PAGE_BYTES - inPage - offset, limit - rip - offset + 1);
      const mayMatch = root !== 0 && room > MAX_LENGTH;
      const pattern = mayMatch ? this.patterns.find(root, arenaOffset + offset) : 0;
      if (pattern !== 0) {
        offset += this.known(pattern, arenaOffset + offset, record, inPage, offset, count, mode);
        record += Record.BYTES;
        count++;
        if (this.patterns.endsBlock(pattern)) return this.finish(arenaOffset, mode, start, record, offset, offset);
        continue;
      }
      const length =
        room <= 0 ? DecodeStatus.NEED_MORE : decodeInto(this.insn, this.arena.u8, arenaOffset + offset, Math.min(room, MAX_LENGTH + 1), bits);
      if (length <= 0) {
        if (count > 0) break;
        if (length === DecodeStatus.NEED_MORE) return this.buildCrossing(cpu, arenaOffset, mode, linearLo, linearHi, bits);
        return this.finish(arenaOffset, mode, start, this.fault(record, length === DecodeStatus.TOO_LONG ? 13 : 6, mode), MAX_LENGTH, room);
      }
      const isTypical = mayMatch && this.isOrdinary(cpu, this.insn.row);
      const ended = this.instruction(cpu, record, inPage, offset, length, count, mode);
      if (isTypical) this.patterns.learn(root, this.insn, arenaOffset + offset, record);
      record += Record.BYTES;
      count++;
      offset += length;
      if (ended) return this.finish(arenaOffset, mode, start, record, offset, offset);
    }
    this.writer.head(record, Slot.FALL_THROUGH, offset, 0, count - 1);
    this.writer.jump(record, 0, Link.FAR, (mode & Mode.SINGLE) === 0 && inPage + offset < PAGE_BYTES ? Link.OPEN : Link.FAR);
    return this.finish(arenaOffset, mode, start, record + Record.BYTES, offset, offset);
  }

  /** Room for records; what TypeScript keeps for records goes when they do. */
  private reserve(count: number): number {
    const start = this.cache.reserve(count);
    if (this.flushes !== this.cache.flushes) {
      this.flushes = this.cache.flushes;
      this.systemRecords.length = 0;
      this.looseRecord = -1;
    }
    return start;
  }

  /** Asks for the handler of an instruction that will come; compiled with all others at the next flush of the handlers. */
  foresee(bytes: Uint8Array, mode: number): void {
    const bits = (mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16;
    const { insn, handlers } = this;
    if (decodeInto(insn, bytes, 0, bytes.length, bits) > 0 && handlers.has(insn.row)) handlers.slotFor(insn.row.id, handlerForm(insn, mode));
  }

  private finish(arenaOffset: number, mode: number, start: number, end: number, bytes: number, room: number): number {
    this.handlers.flush();
    if (this.onBuilt !== null) this.onBuilt(arenaOffset, mode, bytes);
    if ((mode & Mode.LONG) !== 0) this.join(start, end);
    this.endsWithin(start, Math.min(bytes, room));
    const { i32, u16 } = this.arena;
    if (i32[start >>> 2] === Slot.HEAD) u16[(start + Record.RECORDS) >>> 1] = (end - start) / Record.BYTES - 1;
    this.cache.add(arenaOffset, mode, start, (end - start) / Record.BYTES, Math.max(1, Math.min(bytes, room)));
    return start;
  }

  /**
   * Gives records the handlers that carry out several of them. From the end, since comparisons and the jumps behind them profit most; pairs first, then pairs of those.
   * Each record keeps its own fields, and leaves by them.
   */
  private join(start: number, end: number): void {
    const { handlers, heads } = this;
    const { i32 } = this.arena;
    const last = (end - start) / Record.BYTES - 1;
    for (let i = 0; i <= last; i++) heads[i] = start + (last - i) * Record.BYTES;
    let count = last + 1;
    for (let level = 0; level < LEVELS; level++) {
      let kept = 0;
      // From the last record to the first: `heads` of what is a unit so far.
      for (let i = 0; i < count; i++) {
        const [second, first] = [heads[i]!, heads[i + 1]!];
        const both = i + 1 < count ? handlers.joinOf(i32[first >>> 2]!, i32[second >>> 2]!) : 0;
        if (both !== 0) {
          i32[first >>> 2] = both;
          i++;
        }
        heads[kept++] = both !== 0 ? first : second;
      }
      count = kept;
    }
  }

  /** Gives a block of a segment that may end the head that checks it; gives the place of its first instruction. */
  private limitHead(start: number, mode: number): number {
    if ((mode & (Mode.LONG | Mode.FLAT)) !== 0) return start;
    this.writer.head(start, Slot.LIMIT, 0, 0, 0);
    return start + Record.BYTES;
  }

  private endsWithin(start: number, bytes: number): void {
    const { i32 } = this.arena;
    if (i32[start >>> 2] === Slot.LIMIT) i32[(start + Record.IMMEDIATE) >>> 2] = Math.max(1, bytes) - 1;
  }

  /** Gives a block whose turns are to be counted its head; gives the place of its first instruction. */
  private head(start: number, arenaOffset: number, mode: number): number {
    const isPlain = (mode & Mode.LONG) !== 0 || (mode & (Mode.FLAT | Mode.PROTECTED)) === (Mode.FLAT | Mode.PROTECTED);
    if (this.turns === null || this.loose || !isPlain || (mode & ~this.countedModes) !== 0) return start;
    const { i32, u8 } = this.arena;
    this.writer.head(start, Slot.HEAD, 0, HEAD_LENGTH, 0);
    i32[(start + Record.COUNTDOWN) >>> 2] = i32[(start + Record.START) >>> 2] = this.turns(arenaOffset >>> 12);
    i32[(start + Record.HOST) >>> 2] = arenaOffset;
    u8[start + Record.OPEN] = 0;
    return start + Record.BYTES;
  }

  /** A record that raises an exception: the bytes are no instruction. Where an ENDBRANCH is due, that it is none comes first. */
  private fault(record: number, vector: number, mode: number): number {
    const { insn } = this;
    this.insn = new Instruction();
    insn.length = 0;
    const awaited = (mode & Mode.ENDBRANCH) !== 0;
    this.system(record, 0, 0, { insn, meaning: awaited ? underCet(insn, mode) : null, extended: false, vector: awaited ? -1 : vector });
    return record + Record.BYTES;
  }

  private system(record: number, offset: number, index: number, system: SystemRecord): void {
    this.writer.head(record, Slot.SYSTEM, offset, system.insn.length, index);
    this.keep(record, system);
  }

  /** Lets a record leave to TypeScript. All blocks that are good once share one place, or a guest could fill the host's memory. */
  private keep(record: number, system: SystemRecord): void {
    if (!this.loose || this.looseRecord < 0) {
      if (this.loose) this.looseRecord = this.systemRecords.length;
      this.arena.i32[(record + Record.IMMEDIATE) >>> 2] = this.systemRecords.length;
      this.systemRecords.push(system);
    } else {
      this.arena.i32[(record + Record.IMMEDIATE) >>> 2] = this.looseRecord;
      this.systemRecords[this.looseRecord] = system;
    }
  }

  /** What TypeScript needs to carry the present instruction out, which it keeps: the next one is decoded elsewhere. */
  private systemRecord(cpu: Vcpu, vector: number): SystemRecord {
    const { insn } = this;
    this.insn = new Instruction();
    const name = insn.row.mnemonic;
    const meaning = SYSTEM_INSTRUCTIONS[name] ?? null;
    return { insn, meaning, extended: cpu.extensionInstructions[name] !== undefined, vector };
  }

  /** Whether a row's handler is all that there is to it, whatever the mode and the model: asked once, since most of what is decoded is so. */
  private isOrdinary(cpu: Vcpu, row: OpcodeRow): boolean {
    const known = this.ordinary[row.id]!;
    if (known !== Ordinary.UNKNOWN) return known === Ordinary.YES;
    const kind = kindOf(row);
    const is =
      (kind === RowKind.PLAIN || kind === RowKind.JUMP) &&
      isAlwaysAvailable(row) &&
      row.mnemonic !== 'NOP' &&
      this.handlers.has(row) &&
      cpu.extensionInstructions[row.mnemonic] === undefined;
    this.ordinary[row.id] = is ? Ordinary.YES : Ordinary.NO;
    return is;
  }

  /** Writes one instruction's record; true when it ends the block. */
  private instruction(cpu: Vcpu, record: number, inPage: number, offset: number, length: number, index: number, mode: number): boolean {
    const { insn, handlers, writer } = this;
    const { row } = insn;
    if ((mode & Mode.GOVERNED) !== 0 || !this.isOrdinary(cpu, row)) return this.other(cpu, record, inPage, offset, length, index, mode);
    this.shadowing = -1;
    writer.head(record, handlers.slotFor(row.id, handlerForm(insn, mode)), offset, length, index);
    writer.fields(record, insn, offset);
    if (kindOf(row) === RowKind.JUMP) this.directJump(record, inPage, offset + length, insn.immediate, mode);
    return row.endsBlock;
  }

  /** Writes the record of an instruction of a known pattern; gives its length. */
  private known(pattern: number, arenaOffset: number, record: number, inPage: number, offset: number, index: number, mode: number): number {
    this.shadowing = -1;
    const length = this.patterns.write(pattern, arenaOffset, record, offset, index);
    if (this.patterns.isJump(pattern)) {
      const distance = this.arena.i32[(record + Record.IMMEDIATE) >>> 2]!;
      this.directJump(record, inPage, offset + length, distance, mode);
    }
    return length;
  }

  /** The same for instructions that models or modes may forbid, or that are not carried out by their handler alone. */
  private other(cpu: Vcpu, record: number, inPage: number, offset: number, length: number, index: number, mode: number): boolean {
    const { insn, handlers, writer } = this;
    readAsModel(cpu, insn, mode);
    const { row } = insn;
    if (row.mnemonic === 'NOP' && index > 0 && this.shadowing === record - Record.BYTES) this.arena.u8[this.shadowing + Record.BEFORE_NOP] = 1;
    this.shadowing = row.mnemonic === 'STI' ? record : -1;
    const governed = (mode & Mode.GOVERNED) !== 0 ? governing(insn, mode) : null;
    if (governed !== null) {
      this.system(record, offset, index, { ...this.systemRecord(cpu, -1), meaning: governed, extended: false });
      return true;
    }
    const vector = unavailable(cpu, insn, mode);
    const kind = kindOf(row);
    if (vector >= 0 || !handlers.has(row) || (kind !== RowKind.LEAVES && cpu.extensionInstructions[row.mnemonic] !== undefined)) {
      this.system(record, offset, index, this.systemRecord(cpu, vector));
      return true;
    }
    writer.head(record, handlers.slotFor(insn.row.id, handlerForm(insn, mode)), offset, length, index);
    writer.fields(record, insn, offset);
    if (kind === RowKind.JUMP) this.directJump(record, inPage, offset + length, insn.immediate, mode);
    else if (kind !== RowKind.PLAIN) this.keep(record, this.systemRecord(cpu, -1));
    return row.endsBlock;
  }

  private directJump(record: number, inPage: number, next: number, distance: number, mode: number): void {
    const target = next + distance;
    const single = (mode & Mode.SINGLE) !== 0;
    const link = (to: number): number => (!single && inPage + to >= 0 && inPage + to < PAGE_BYTES ? Link.OPEN : Link.FAR);
    this.writer.jump(record, target, link(target), link(next));
  }

  /** An instruction that lies on two pages (or cannot be fetched wholly): a block of its own, which checks at run time where the second page is. */
  private buildCrossing(cpu: Vcpu, arenaOffset: number, mode: number, lo: number, hi: number, bits: 16 | 32 | 64): number {
    const first = PAGE_BYTES - (arenaOffset & (PAGE_BYTES - 1));
    this.staging.fill(0);
    this.staging.set(this.arena.u8.subarray(arenaOffset, arenaOffset + Math.min(first, MAX_LENGTH)));
    if (!this.stageSecondPage(cpu, first, lo, hi, mode)) return 0;
    const second = cpu.mmu.arenaOffset;
    const length = this.decodeStaged(cpu, MAX_LENGTH + 1, bits, mode);
    if (length === 0) return 0;
    const start = this.reserve(5);
    // Where a device answers for the second page there is nothing to compare with: the block is good once.
    const end = this.loneInstruction(cpu, start, arenaOffset & (PAGE_BYTES - 1), length, mode, second < 0 ? null : second);
    if (second < 0) return this.finishLoose(start);
    const result = this.finish(arenaOffset, mode, start, end, first, first);
    this.endsWithin(start, length);
    this.cache.addSecondPage(second, start, (end - start) / Record.BYTES, Math.max(1, length - first));
    return result;
  }

  /**
   * An instruction that a device, or nothing, answers for at the physical address that was just translated. Such bytes may be others each time: the block is run
   * once and not kept.
   */
  buildFromDevice(cpu: Vcpu, mode: number, lo: number, hi: number): number {
    this.built++;
    const { staging } = this;
    const bits = (mode & Mode.LONG) !== 0 ? 64 : (mode & Mode.CODE32) !== 0 ? 32 : 16;
    const inPage = lo & (PAGE_BYTES - 1);
    const first = PAGE_BYTES - inPage;
    const { physical } = cpu.mmu;
    staging.fill(0);
    for (let i = 0; i < Math.min(first, MAX_LENGTH); i++) staging[i] = cpu.memory.read8(physical + i);
    let length = decodeInto(this.insn, staging, 0, Math.min(first, MAX_LENGTH + 1), bits);
    if (length === DecodeStatus.NEED_MORE && !this.stageSecondPage(cpu, first, lo, hi, mode)) return 0;
    length = this.decodeStaged(cpu, MAX_LENGTH + 1, bits, mode);
    if (length === 0) return 0;
    const start = this.reserve(5);
    this.loneInstruction(cpu, start, inPage, length, mode, null);
    return this.finishLoose(start);
  }

  /** Puts bytes of the page after that of a linear address behind the `first` ones; false with a fault recorded. */
  private stageSecondPage(cpu: Vcpu, first: number, lo: number, hi: number, mode: number): boolean {
    const { staging } = this;
    const secondLo = ((lo | 0xfff) + 1) | 0;
    const secondHi = nextPageHigh(cpu, secondLo, hi);
    if (this.roomInSegment(cpu, mode) <= Math.min(first, MAX_LENGTH)) return this.fetchFault(cpu, GP, 0);
    if (!cpu.mmu.translate(secondLo, secondHi, Access.EXECUTE, (mode & Mode.USER) !== 0)) {
      cpu.setPageFaultAddress(secondLo, secondHi);
      return cpu.mmu.fault === SECOND_STAGE_FAULT ? this.fetchFault(cpu, SECOND_STAGE_VECTOR, 0) : this.fetchFault(cpu, PF, cpu.mmu.errorCode);
    }
    const { physical } = cpu.mmu;
    for (let i = first; i < MAX_LENGTH + 1; i++) staging[i] = cpu.memory.read8(physical + i - first);
    return true;
  }

  /** Bytes from RIP to the end of the code segment. */
  private roomInSegment(cpu: Vcpu, mode: number): number {
    return (mode & Mode.LONG) !== 0 ? Infinity : (cpu.w[SEG_LIMIT + Segment.CS]! >>> 0) - (cpu.w[RIP]! >>> 0) + 1;
  }

  /** Decodes what was staged: gives the length, or 0 with a fault recorded. */
  private decodeStaged(cpu: Vcpu, bytes: number, bits: 16 | 32 | 64, mode: number): number {
    const length = decodeInto(this.insn, this.staging, 0, bytes, bits);
    if (length > this.roomInSegment(cpu, mode)) cpu.raise(GP, 0);
    else if (length > 0) return length;
    else if ((mode & Mode.ENDBRANCH) !== 0 && atBranchTarget(cpu, NO_INSTRUCTION) === Outcome.FAULT) return 0;
    else if (length === DecodeStatus.TOO_LONG) cpu.raise(GP, 0);
    else cpu.raise(UD);
    return 0;
  }

  /** A block of the instruction just decoded and, unless it ends by itself, the way on. Gives its end. */
  private loneInstruction(cpu: Vcpu, start: number, inPage: number, length: number, mode: number, second: number | null): number {
    let record = this.limitHead(start, mode);
    if (second !== null) {
      this.writer.head(record, Slot.CROSSING, 0, 0, 0);
      this.arena.i32[(record + Record.IMMEDIATE) >>> 2] = second;
      record += Record.BYTES;
    } else this.loose = true;
    const ended = this.instruction(cpu, record, inPage, 0, length, 0, mode);
    this.loose = false;
    record += Record.BYTES;
    if (ended) return record;
    this.writer.head(record, Slot.FALL_THROUGH, length, 0, 0);
    this.writer.jump(record, 0, Link.FAR, Link.FAR);
    return record + Record.BYTES;
  }

  /** A block behind those that are kept: the next one that is made takes its place. */
  private finishLoose(start: number): number {
    this.handlers.flush();
    this.endsWithin(start, 1);
    return start;
  }

  private fetchFault(cpu: Vcpu, vector: number, error: number): false {
    cpu.raise(vector, error);
    return false;
  }
}
