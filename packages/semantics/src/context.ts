import { type Code, type IntWidth, Kind, LOAD, STORE, type Val, type Width } from '@nestvm/emit';
import { vcpuState } from '@nestvm/isa';
import type { Facts } from './facts.js';
import type { Fields } from './fields.js';
import { type FlagHome, Flags } from './flags.js';

/** Integer registers by number. */
export type StateField = keyof typeof vcpuState.offset;

/** A place in memory that was translated once, for writing: read it, then write it. */
export interface Place<W extends Width> {
  read(): Val<W>;
  write(value: Val<W>): void;
}

/**
 * What the engine (interpreter or JIT) supplies to meaning. All memory functions leave the instruction with the fault
 * recorded when the access faults, before anything architectural has changed.
 */
export interface Engine {
  /** Loads `width` bits (8 … 128) at a linear address; narrow integers come zero-extended. */
  load<W extends IntWidth | 128>(x: Context, width: W, linear: Val<64>): Val<W>;
  /** Stores at a linear address. */
  store<W extends IntWidth | 128>(x: Context, width: W, linear: Val<64>, value: Val<W>): void;
  /** Translates for read-modify-write. */
  modify<W extends IntWidth | 128>(x: Context, width: W, linear: Val<64>): Place<W>;
  /** Checks that `bytes` bytes at an address may be written, without writing: for instructions with several stores. */
  probeWrite(x: Context, bytes: number, linear: Val<64>): void;
  /** Host address of `linear` when the TLB has it for the access (0 read, 1 write) and it is plain memory, else 0. Good to the end of its page. */
  hostAddress(x: Context, linear: Val<64>, access: 0 | 1): Val<32>;
  /** Behind `hostAddress`: how many bytes from there on lie one after the other in the host's memory, too, as far as the TLB knows them; what is more than `wanted` need not be right. */
  reach(x: Context, linear: Val<64>, access: 0 | 1, wanted: Val<32>): Val<32>;
  /** Carries out of repeated string instructions only those that are done at once: `system` has the others done from their start. */
  readonly onlyWhole?: boolean;
  /** Segment check of legacy modes: linear address of `offset` in segment number `segment`; access 0 read, 1 write; leaves with #GP or #SS. */
  checkSegment(x: Context, segment: Val<32>, offset: Val<32>, bytes: number, access: 0 | 1): Val<64>;
  /** Records a fault and leaves the instruction; nothing architectural may have changed. */
  fault(x: Context, vector: number, errorCode?: Val<32>): void;
  /** Goes on with the next instruction of the block. */
  next(x: Context): void;
  /** Ends the block: RIP becomes the direct target. */
  jumpDirect(x: Context): void;
  /** Ends the block at the following instruction (not-taken branch, block end). */
  fallThrough(x: Context): void;
  /** Ends the block: RIP becomes `target` (already truncated and checked). */
  jumpIndirect(x: Context, target: Val<64>): void;
  /** Gives events a chance in the middle of a long REP: calls `again` to go on where none waits, else repeats the instruction from its start behind them. */
  repeat(x: Context, again: () => void): void;
  /** Leaves to the TypeScript implementation of this instruction. */
  system(x: Context): void;
  /** Ends the block: delivers a software interrupt of 64-bit code, which is not intercepted; leaves to TypeScript where that takes more than a plain gate. */
  interrupt(x: Context, vector: Val<32>): void;
  /** Forgets the translations of a page as INVLPG does, or leaves to TypeScript. */
  forgetPage(x: Context, linear: Val<64>): void;
  /** Puts the TLB bank of a class of privilege (a `PrivilegeClass`) in force, or leaves to TypeScript: nothing of the instruction may have changed anything by then. */
  switchBank(x: Context, privilege: Val<32>): void;
  /** The time-stamp counter as software on this vCPU sees it. */
  time(x: Context): Val<64>;
  /** Leaves this instruction, which has changed nothing yet, to an engine that carries it out whole; absent where this one does. */
  readonly giveUp?: ((x: Context) => void) | undefined;
  /** Not 0 when no other instruction of the block runs after this one. */
  isLast(x: Context): Val<32>;
  /** Not 0 when the next instruction of the block is a NOP; asked for STI only. */
  isBeforeNop(x: Context): Val<32>;
}

/** One instruction being written: the code, the vCPU, what is known, and what the engine supplies. */
export class Context {
  readonly flags: Flags;
  /** Set once the instruction has left by itself (jump, system): nothing follows. */
  ended = false;

  constructor(
    readonly code: Code,
    /** Base address of the vCPU's state in linear memory. */
    readonly cpu: Val<32>,
    readonly facts: Facts,
    readonly fields: Fields,
    readonly engine: Engine,
    flags?: (home: FlagHome) => Flags,
  ) {
    this.flags = flags ? flags(this) : new Flags(this);
  }

  /** A constant. */
  const<W extends IntWidth>(width: W, value: number | bigint): Val<W> {
    return this.code.constant(width, value);
  }

  /** Reads state at a byte offset (constant or run-time). */
  readState<W extends IntWidth | 128>(width: W, offset: Val<32> | number): Val<W> {
    const [address, fixed] = this.address(offset);
    return this.code.load(LOAD[width], width, address, fixed);
  }

  /** Writes state at a byte offset. */
  writeState<W extends IntWidth | 128>(width: W, offset: Val<32> | number, value: Val<W>): void {
    const [address, fixed] = this.address(offset);
    this.code.store(STORE[width], address, value, fixed);
  }

  private address(offset: Val<32> | number): [Val<32>, number] {
    if (typeof offset === 'number') return [this.cpu, offset];
    if (offset.node.kind === Kind.CONST) return [this.cpu, offset.node.value as number];
    return [this.cpu.add(offset), 0];
  }

  /** Reads a named 32-bit field. */
  get32(field: StateField): Val<32> {
    return this.readState(32, vcpuState.offset[field]);
  }
  /** Reads a named 64-bit field. */
  get64(field: StateField): Val<64> {
    return this.readState(64, vcpuState.offset[field]);
  }
  /** Writes a named 32-bit field. */
  set32(field: StateField, value: Val<32>): void {
    this.writeState(32, vcpuState.offset[field], value);
  }
  /** Writes a named 64-bit field. */
  set64(field: StateField, value: Val<64>): void {
    this.writeState(64, vcpuState.offset[field], value);
  }

  /** Reads a general-purpose register by its state offset. */
  readGpr<W extends IntWidth>(width: W, offset: Val<32> | number): Val<W> {
    return this.readState(width, offset);
  }

  /** Writes a general-purpose register; a 32-bit write clears the upper half. */
  writeGpr<W extends IntWidth>(width: W, offset: Val<32> | number, value: Val<W>): void {
    if (width === 32) this.writeState(64, offset, value.zext(64) as Val<64>);
    else this.writeState(width, offset, value);
  }

  /** Reads register number `n` (RAX = 0 …). */
  gpr<W extends IntWidth>(width: W, n: number): Val<W> {
    return this.readGpr(width, vcpuState.offset.gpr + 8 * n);
  }

  /** Writes register number `n`. */
  setGpr<W extends IntWidth>(width: W, n: number, value: Val<W>): void {
    this.writeGpr(width, vcpuState.offset.gpr + 8 * n, value);
  }

  /** Address of the following instruction, as an offset in the code segment. */
  nextRip(): Val<64> {
    const next = this.get64('blockRip').add(this.fields.blockOffset().add(this.fields.length()).zext(64));
    return this.facts.long ? next : next.and(0xffffffffn);
  }

  /** Effective address of the memory operand (offset in its segment), truncated to the address size. */
  effectiveAddress(): Val<64> {
    const { fields, facts } = this;
    let sum = this.readState(64, fields.base()).add(fields.displacement().sext(64));
    if (facts.indexed) sum = sum.add(this.readState(64, fields.index()).shl(fields.scale()));
    if (facts.addressSize === 32) return sum.and(0xffffffffn);
    if (facts.addressSize === 16) return sum.and(0xffffn);
    return sum;
  }

  /** Linear address of an offset in the memory operand's segment, checked as the facts demand. */
  linear(offset: Val<64>, bytes: number, access: 0 | 1): Val<64> {
    switch (this.facts.segment) {
      case 'none':
        return offset;
      case 'base':
        return offset.add(this.readState(64, this.fields.segment().shl(3).add(vcpuState.offset.segBase)));
      case 'checked':
        return this.engine.checkSegment(this, this.fields.segment(), offset.trunc(32), bytes, access);
    }
  }

  /** Linear address of the memory operand. */
  operandAddress(bytes: number, access: 0 | 1): Val<64> {
    return this.linear(this.effectiveAddress(), bytes, access);
  }

  /** Raises a fault if the condition holds. */
  faultIf(condition: Val<32>, vector: number, errorCode?: number): void {
    this.code.if(condition, () => this.engine.fault(this, vector, errorCode === undefined ? undefined : this.const(32, errorCode)));
  }
}

/** Exception vectors that emitters raise. */
export const Vector = { DE: 0, DB: 1, BP: 3, OF: 4, BR: 5, UD: 6, NM: 7, SS: 12, GP: 13, PF: 14, MF: 16, AC: 17, XM: 19 } as const;
