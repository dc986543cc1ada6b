import { type Instruction, RIP_REGISTER } from '@nestvm/decoder';
import { Mode, type OpcodeRow } from '@nestvm/isa';
import { Record } from '../interpreter/record.js';
import { keepsImmediate } from '../interpreter/record-writer.js';
import type { ArenaViews } from './arena-views.js';
import { kindOf, RowKind } from './row-kind.js';

/** Bits of `Mode` that decoding and the form of a handler depend on. */
const FORM_MODES = Mode.LONG | Mode.CODE32 | Mode.STACK32 | Mode.FLAT | Mode.ALIGN | Mode.LA57;
/** A node of the tree has a place for each byte: of the next node, of a pattern (below zero), or 0 for nothing yet. */
const NODE = 256;
/** 4 MiB of address space, of which what is used takes memory. */
const NODES = 8192;
const PATTERNS = 16384;
const WORDS = Record.BYTES >>> 2;
/** Bytes before displacement and immediate that a pattern may have. */
const MOST_BYTES = 8;

/** Where things are in a pattern's word: bytes before the displacement, of it, of the immediate, then bits. */
const Shape = { DISPLACEMENT: 4, IMMEDIATE: 8, UNSIGNED: 1 << 12, RELATIVE: 1 << 13, JUMP: 1 << 14, ENDS: 1 << 15 } as const;

/** How the immediate of a row's instructions is extended; undefined for rows that have none, or put something else into its place. */
const immediateOf = (row: OpcodeRow): OpcodeRow['operands'][number] | undefined =>
  row.operands.find(({ method }) => method === 'I' || method === 'sI' || method === 'J');
const isUnsigned = (row: OpcodeRow): boolean => {
  const immediate = immediateOf(row);
  return immediate?.method === 'I' && (immediate.type === 'b' || immediate.type === 'w');
};
/** Far pointers have two immediates. */
const isPlain = (row: OpcodeRow): boolean => keepsImmediate(row) && !row.operands.some(({ method }) => method === 'A');

/**
 * Records of instructions that were decoded before, by their bytes without displacement and immediate: those say which row, which registers and which handler, and most of what is decoded is
 * like something that was. A tree by bytes leads to them; what is not in it is decoded from the start, and put into it.
 */
export class Patterns {
  private readonly tree = new Int16Array(NODES * NODE);
  private readonly records = new Int32Array(PATTERNS * WORDS);
  private readonly shapes = new Uint16Array(PATTERNS);
  /** The first node that is free; the first pattern is 1. */
  private nodes = 1;
  private count = 1;
  private readonly roots = new Map<number, number>();
  private lastMode = -1;
  private lastRoot = 0;

  constructor(private readonly arena: ArenaViews) {}

  /** The root of the tree for a mode, which the other methods take; 0 when there is no room for another. */
  rootOf(mode: number): number {
    if (mode === this.lastMode) return this.lastRoot;
    const form = mode & FORM_MODES;
    let root = this.roots.get(form);
    if (root === undefined) this.roots.set(form, (root = this.newNode()));
    this.lastMode = mode;
    this.lastRoot = root;
    return root;
  }

  private newNode(): number {
    return this.nodes < NODES ? this.nodes++ : 0;
  }

  /** The pattern of the instruction at an arena offset, 0 for one that is not known. At least 15 bytes can be read there. */
  find(root: number, arenaOffset: number): number {
    const { tree } = this;
    const { u8 } = this.arena;
    let next = root;
    let at = arenaOffset;
    do next = tree[next * NODE + u8[at++]!]!;
    while (next > 0);
    return 0 - next;
  }

  /** Keeps the record just written of an instruction that was just decoded at an arena offset. */
  learn(root: number, insn: Readonly<Instruction>, arenaOffset: number, record: number): void {
    const bytes = insn.length - insn.displacementBytes - insn.immediateBytes;
    const { row } = insn;
    if (bytes > MOST_BYTES || this.count === PATTERNS || !isPlain(row)) return;
    const leaf = this.leafFor(root, arenaOffset, bytes);
    if (leaf < 0) return;
    const pattern = this.count++;
    this.tree[leaf] = -pattern;
    this.records.set(this.arena.i32.subarray(record >>> 2, (record >>> 2) + WORDS), pattern * WORDS);
    this.shapes[pattern] =
      bytes |
      (insn.displacementBytes << Shape.DISPLACEMENT) |
      (insn.immediateBytes << Shape.IMMEDIATE) |
      (isUnsigned(row) ? Shape.UNSIGNED : 0) |
      (insn.base === RIP_REGISTER ? Shape.RELATIVE : 0) |
      (kindOf(row) === RowKind.JUMP ? Shape.JUMP : 0) |
      (row.endsBlock ? Shape.ENDS : 0);
  }

  /** Place in the tree of what some bytes lead to; -1 when there is no room for it. */
  private leafFor(root: number, arenaOffset: number, bytes: number): number {
    const { tree } = this;
    const { u8 } = this.arena;
    let node = root;
    for (let i = 0; i < bytes - 1; i++) {
      const place = node * NODE + u8[arenaOffset + i]!;
      node = tree[place]! || (tree[place] = this.newNode());
      if (node <= 0) return -1;
    }
    return node * NODE + u8[arenaOffset + bytes - 1]!;
  }

  /** Whether a pattern's instruction is a direct jump. */
  isJump(pattern: number): boolean {
    return (this.shapes[pattern]! & Shape.JUMP) !== 0;
  }

  /** Whether a pattern's instruction ends a block. */
  endsBlock(pattern: number): boolean {
    return (this.shapes[pattern]! & Shape.ENDS) !== 0;
  }

  /** Writes the record of the instruction at an arena offset, which is of a pattern; gives its length. */
  write(pattern: number, arenaOffset: number, record: number, blockOffset: number, index: number): number {
    const { records } = this;
    const { i32 } = this.arena;
    const shape = this.shapes[pattern]!;
    const displacement = (shape >>> Shape.DISPLACEMENT) & 15;
    const immediate = (shape >>> Shape.IMMEDIATE) & 15;
    const bytes = shape & 15;
    const length = bytes + displacement + immediate;
    const from = pattern * WORDS;
    const word = record >>> 2;
    i32[word] = records[from]!;
    i32[word + 1] = blockOffset | (length << 16) | (index << 24);
    i32[word + 2] = records[from + 2]!;
    i32[word + 3] = records[from + 3]!;
    const distance = displacement === 0 ? 0 : this.read(arenaOffset + bytes, displacement);
    i32[word + 4] = (shape & Shape.RELATIVE) !== 0 ? distance + blockOffset + length : distance;
    i32[word + 5] = records[from + 5]!;
    const value = immediate === 0 ? 0 : this.read(arenaOffset + bytes + displacement, immediate);
    const low = (shape & Shape.UNSIGNED) === 0 ? value : immediate === 1 ? value & 0xff : value & 0xffff;
    i32[word + 6] = low;
    i32[word + 7] = immediate === 8 ? this.read(arenaOffset + bytes + displacement + 4, 4) : low >> 31;
    return length;
  }

  /** A number of 1, 2 or 4 bytes (of 8 those of the low half), sign-extended. */
  private read(at: number, bytes: number): number {
    const { u8 } = this.arena;
    if (bytes === 1) return (u8[at]! << 24) >> 24;
    const low = u8[at]! | (u8[at + 1]! << 8);
    return bytes === 2 ? (low << 16) >> 16 : low | (u8[at + 2]! << 16) | (u8[at + 3]! << 24);
  }
}
