import { ByteWriter, MEMORY, ModuleBuilder, NUMERIC } from '@nestvm/wasm';

/**
 * Shortens a message without a change of its CRC-32. A message is a polynomial, and its CRC what a division by the polynomial P of CRC-32 leaves. Where a sum of
 * powers of x is a multiple of P, so is the sum of their 128th powers, since squaring is linear over GF(2). With x^d + x^e + … + 1 a block of 16 bytes may
 * therefore be taken out of the message, if it is XORed to the blocks that come d−e, …, and d blocks later: its lags.
 */
interface Reduction {
  readonly lags: readonly number[];
  /** The largest of them: as many blocks are left. */
  readonly reach: number;
}

/** x^203 + x^186 + x^123 + x^85 + x^79 + 1: little work for a block, and no other multiple of P with six terms leaves less. */
export const SPARSE: Reduction = { lags: [17, 80, 118, 124, 203], reach: 203 };
/** P itself: x^32 + x^26 + x^23 + x^22 + x^16 + x^12 + x^11 + x^10 + x^8 + x^7 + x^5 + x^4 + x^2 + x + 1. */
export const DENSE: Reduction = { lags: [6, 9, 10, 16, 20, 21, 22, 24, 25, 27, 28, 30, 31, 32], reach: 32 };

const BLOCK_BYTES = 16;
/** Blocks are taken out by so many; no lag is shorter, so that they don't depend on each other. */
const STEP_BLOCKS = 4;

const ALIGN = 4;
const OP = { loop: 0x03, void: 0x40, end: 0x0b, brIf: 0x0d, get: 0x20, set: 0x21, tee: 0x22, constant: 0x41 } as const;
/** Parameters of a function: where it works, and where it ends. */
const AT = 0;
const STOP = 1;

class Code {
  private readonly out = new ByteWriter();

  raw(...bytes: readonly number[]): void {
    this.out.bytes(bytes);
  }

  plain(name: string): void {
    const { prefix, opcode } = NUMERIC[name]!;
    if (prefix !== 0) this.out.byte(prefix);
    this.out.unsigned(opcode);
  }

  /** The block so many blocks behind the pointer. */
  load(blocks: number): void {
    this.raw(OP.get, AT);
    this.access('v128.load', blocks);
  }

  access(name: 'v128.load' | 'v128.store', blocks: number): void {
    const { prefix, opcode } = MEMORY[name]!;
    this.raw(prefix, opcode, ALIGN);
    this.out.unsigned(blocks * BLOCK_BYTES);
  }

  /** Adds so many blocks to the address on the stack. */
  add(blocks: number): void {
    this.raw(OP.constant);
    this.out.signed(blocks * BLOCK_BYTES);
    this.plain('i32.add');
  }

  /** Moves the pointer, and goes on from the loop's beginning until it has come to the end. */
  advance(blocks: number): void {
    this.raw(OP.get, AT);
    this.add(blocks);
    this.raw(OP.tee, AT, OP.get, STOP);
    this.plain('i32.lt_u');
    this.raw(OP.brIf, 0, OP.end);
  }

  /** The body, which ends here. */
  end(): Uint8Array {
    this.raw(OP.end);
    return this.out.take();
  }
}

/**
 * From `at`, the place `reach` blocks before the first block, up to `stop` likewise: each block becomes what is taken out for it, which is itself and what those
 * before it have left in its place.
 */
function takingOut({ lags, reach }: Reduction): Uint8Array {
  const code = new Code();
  code.raw(OP.loop, OP.void);
  for (let step = 0; step < STEP_BLOCKS; step++) {
    code.raw(OP.get, AT);
    code.load(reach + step);
    for (const lag of lags) {
      code.load(reach + step - lag);
      code.plain('v128.xor');
    }
    code.access('v128.store', reach + step);
  }
  code.advance(STEP_BLOCKS);
  return code.end();
}

/** The blocks from `stop` on get what the blocks taken out before them leave there. */
function settling({ lags }: Reduction): Uint8Array {
  const code = new Code();
  for (const lag of lags) {
    code.raw(OP.get, STOP);
    code.add(-lag);
    code.raw(OP.set, AT, OP.loop, OP.void, OP.get, AT);
    code.load(lag);
    code.load(0);
    code.plain('v128.xor');
    code.access('v128.store', lag);
    code.advance(1);
  }
  return code.end();
}

type Work = (at: number, stop: number) => void;

function compile(memory: WebAssembly.Memory): Readonly<Record<string, Work>> {
  const module = new ModuleBuilder();
  module.importMemory('', 'memory', PAGES, PAGES);
  for (const [name, code] of Object.entries({
    sparse: takingOut(SPARSE),
    sparseEnd: settling(SPARSE),
    dense: takingOut(DENSE),
    denseEnd: settling(DENSE),
  }))
    module.exportFunction(name, module.addFunction({ params: ['i32', 'i32'], results: [] }, { locals: [], code }));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.toBytes() as Uint8Array<ArrayBuffer>), { '': { memory } });
  return instance.exports as Record<string, Work>;
}

/** So much of a message is worked on at once: it stays in the cache of a core. */
const PIECE_BYTES = 64 << 10;
/** What was taken out before it lies before the piece. */
const START = SPARSE.reach * BLOCK_BYTES;
/** The last piece is at least as long as what is left of it. */
const LEAST_BYTES = START + STEP_BLOCKS * BLOCK_BYTES;
const PAGES = 2;

/** Makes short messages of long ones, of the same CRC-32. */
export class Folding {
  private readonly room: Uint8Array;
  private readonly work: Readonly<Record<string, Work>>;

  /** Throws where the host has no WebAssembly with vectors. */
  constructor() {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES });
    this.room = new Uint8Array(memory.buffer);
    this.work = compile(memory);
  }

  /** A message with the CRC-32 of `bytes`, some hundred bytes long; `first` is XORed to the first four. To be used before the next is made. */
  shorten(bytes: Uint8Array, first: number): Uint8Array {
    const { room } = this;
    room.fill(0, 0, START);
    let at = 0;
    for (; bytes.length - at >= PIECE_BYTES + LEAST_BYTES; at += PIECE_BYTES) {
      this.put(bytes.subarray(at, at + PIECE_BYTES), at === 0 ? first : 0);
      this.work['sparse']!(0, PIECE_BYTES);
      room.copyWithin(0, PIECE_BYTES, PIECE_BYTES + START);
    }
    this.put(bytes.subarray(at), at === 0 ? first : 0);
    const end = START + bytes.length - at;
    const middle = this.take(START, end, SPARSE);
    // All that was taken out is in the blocks that are left.
    room.fill(0, middle - DENSE.reach * BLOCK_BYTES, middle);
    return room.subarray(this.take(middle, end, DENSE), end);
  }

  private put(piece: Uint8Array, first: number): void {
    this.room.set(piece, START);
    for (let i = 0; i < 4; i++) this.room[START + i]! ^= first >>> (8 * i);
  }

  /** Takes out all blocks that can be, and returns where the others begin. */
  private take(from: number, end: number, reduction: Reduction): number {
    const { reach } = reduction;
    const name = reduction === SPARSE ? 'sparse' : 'dense';
    const steps = Math.max(0, Math.floor(((end - from) / BLOCK_BYTES - reach) / STEP_BLOCKS));
    if (steps > 0) this.work[name]!(from - reach * BLOCK_BYTES, from + (steps * STEP_BLOCKS - reach) * BLOCK_BYTES);
    const stop = from + steps * STEP_BLOCKS * BLOCK_BYTES;
    if ((end - stop) / BLOCK_BYTES >= reach) this.work[`${name}End`]!(0, stop);
    return stop;
  }
}
