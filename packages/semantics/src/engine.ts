import type { IntWidth, Val, Width } from '@nestvm/emit';
import type { Context } from './context.js';

/** Where a checked linear address came from, for the right fault: stack accesses raise #SS, others #GP. */
export interface Access {
  /** Linear address, 64 bits wide; already inside the segment. */
  readonly linear: Val<64>;
}

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
  /** Repeats this instruction from its start after giving events a chance (long REP). */
  repeat(x: Context): void;
  /** Leaves to the TypeScript implementation of this instruction; ends the block. */
  system(x: Context): void;
}
