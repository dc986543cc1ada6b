/**
 * Byte offsets inside a decoded record: what a handler loads as its `Fields`. Records of a block lie one after the other.
 */
export const Record = {
  /** u32: table slot of the handler. */
  HANDLER: 0,
  /** u16: offset of the instruction's first byte from the block's. */
  BLOCK_OFFSET: 4,
  /** u8: length in bytes. */
  LENGTH: 6,
  /** u8: instructions of the block before this one. */
  INDEX: 7,
  /** u16: state offsets of the operands in ModRM.reg, ModRM.rm; base and index of the memory operand. */
  REG: 8,
  RM: 10,
  BASE: 12,
  INDEX_REGISTER: 14,
  /** u32, for jumps: host address that a far jump led to last, and the record of the block there. */
  FAR_HOST: 8,
  FAR_RECORD: 12,
  /** i32: displacement; or offset of a direct jump's target from the start of the block. */
  DISPLACEMENT: 16,
  TARGET: 16,
  /** u16: state offset of the operand in VEX.vvvv. */
  VVVV: 20,
  /** u8: index shift. */
  SCALE: 22,
  /** u8, for STI: not zero when a NOP follows in the block. */
  BEFORE_NOP: 22,
  /** u8: segment register of the memory operand. */
  SEGMENT: 23,
  /** u64: immediate. */
  IMMEDIATE: 24,
  /** u32, for jumps: record to go on with when taken, and when not. */
  LINK_TAKEN: 24,
  LINK_NEXT: 28,
  /** u32, for heads: turns until the block is reported as hot; or, when it has been compiled, which entry of its code it is. */
  COUNTDOWN: 24,
  ENTRY: 24,
  /** u32, for heads: arena offset of the block's first byte. */
  HOST: 16,
  /** u32, for heads: what the countdown began at. */
  START: 12,
  /** u16, for heads: records of the block behind its head. */
  RECORDS: 8,
  /** u8, for heads: not zero when the jumps of the block lead to heads wherever they go. */
  OPEN: 22,
  BYTES: 32,
} as const;

/** `LENGTH` of a head: no instruction is so long. */
export const HEAD_LENGTH = 0xff;

/** Values of a link that is no record. */
export const Link = {
  /** Inside the page; not looked up yet. */
  OPEN: 0,
  /** Leads to another page: translate it each time. */
  FAR: 1,
} as const;

/** Why the interpreter came back, in `exitReason`. */
export const ExitReason = {
  /** The budget is used up; RIP is set. */
  BUDGET: 0,
  /** No block is known for RIP; RIP is set. */
  MISS: 1,
  /** A fault is recorded; RIP is that of `exitRecord`, which did not retire. */
  FAULT: 2,
  /** `exitRecord` is carried out in TypeScript. */
  SYSTEM: 3,
  /** `exitRecord` wants to run again after events. */
  REPEAT: 4,
  /** The block was invalidated; go on at `exitRecord`. */
  STALE: 5,
  /** RIP is set; `exitRecord`'s taken link, or its other one, is open. */
  LINK_TAKEN: 6,
  LINK_NEXT: 7,
  /** The block whose head is `exitRecord` has run often. */
  HOT: 8,
  /** A system instruction was carried out, and the loop has something to do before the next one. */
  DONE: 9,
} as const;

/** Instructions that a repeated instruction counts as each time it lets events in, after some thousands of elements. */
export const REPEAT_COST = 4096;

/** Table slots with a fixed meaning. */
export const Slot = {
  /** Leaves with `STALE`. */
  STALE: 1,
  /** Leaves with `SYSTEM`. */
  SYSTEM: 2,
  /** Ends a block that no jump ends. */
  FALL_THROUGH: 3,
  /** Checks that the second page of a page-crossing instruction is where it was. */
  CROSSING: 4,
  /** Checks that a block (of IMMEDIATE + 1 bytes) ends inside of the code segment. */
  LIMIT: 7,
  /** Head of a block whose turns are counted; compiled code takes its place. */
  HEAD: 5,
  /** Head of a block that is not worth counting. */
  PASS: 6,
  /** First record of a block that was decoded anew: goes on at that of the new one, which is in IMMEDIATE. */
  MOVED: 8,
  FIRST_FREE: 9,
} as const;
