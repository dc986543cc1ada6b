/** The state before one case, while it is being made up. */
import { Image, Place, type VectorMode } from '../../packages/conformance/src/index.js';
import type { Random } from './random.js';
import { valueOf } from './values.js';

const STATUS = 0x8d5;

/** An image with typed access; starts as a copy of the background. */
export class State {
  readonly image: Uint8Array;
  readonly view: DataView;
  readonly mode: VectorMode;
  readonly #random: Random;

  constructor(background: Uint8Array, mode: VectorMode, random: Random) {
    this.image = background.slice();
    this.view = new DataView(this.image.buffer);
    this.mode = mode;
    this.#random = random;
  }

  gpr(index: number): bigint {
    return this.view.getBigUint64(Image.gpr + 8 * index, true);
  }

  /** Sets the low `bits` of a register; what is above them becomes random where the mode can hold it. */
  setGpr(index: number, value: bigint, bits = 64): void {
    const width = this.mode === 64 ? 64 : 32;
    const low = BigInt.asUintN(bits, value);
    const high = bits < width ? (this.#random.bits(width) >> BigInt(bits)) << BigInt(bits) : 0n;
    this.view.setBigUint64(Image.gpr + 8 * index, BigInt.asUintN(width, low | high), true);
  }

  /** Sets part of a register, leaving the rest. */
  setPart(index: number, byte: number, value: bigint, bits: number): void {
    for (let i = 0; i < bits / 8; i++) this.image[Image.gpr + 8 * index + byte + i] = Number((value >> BigInt(8 * i)) & 0xffn);
  }

  get flags(): number {
    return Number(this.view.getBigUint64(Image.rflags, true));
  }

  set flags(value: number) {
    this.view.setBigUint64(Image.rflags, BigInt(value), true);
  }

  randomFlags(): void {
    this.flags = (this.flags & ~STATUS) | (this.#random.u32() & STATUS);
  }

  setVector(index: number, bytes: Uint8Array): void {
    this.image.set(bytes.subarray(0, 32), Image.vec + 32 * index);
  }

  /** Writes what falls into the window at a linear address. */
  setMemory(address: number, bytes: Uint8Array): void {
    bytes.forEach((byte, i) => {
      const at = address + i - Place.window;
      if (at >= 0 && at < Place.windowBytes) this.image[Image.memory + at] = byte;
    });
  }

  setMemoryInt(address: number, value: bigint, bytes: number): void {
    this.setMemory(
      address,
      Uint8Array.from({ length: bytes }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn)),
    );
  }

  get top(): number {
    return (this.view.getUint16(Image.fsw, true) >> 11) & 7;
  }

  /** Sets ST(i) to an 80-bit pattern. */
  setSt(i: number, value: bigint): void {
    const at = Image.fpr + 16 * ((this.top + i) & 7);
    this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    this.view.setUint16(at + 8, Number(value >> 64n) & 0xffff, true);
  }

  /** MMi is the significand of physical register Ri. */
  setMm(i: number, bytes: Uint8Array): void {
    this.image.set(bytes.subarray(0, 8), Image.fpr + 16 * i);
  }

  /** A random x87 environment: rounding and precision control, masks, TOP, depth of the stack, old flags. */
  randomX87(pushes: boolean): void {
    const random = this.#random;
    const masks = random.chance(0.78) ? 0x3f : random.below(64);
    const precision = random.pick([3, 3, 3, 2, 2, 0, 0, 1]);
    const fcw = 0x40 | masks | (precision << 8) | (random.below(4) << 10) | (random.chance(0.05) ? 0x1000 : 0);
    const top = random.below(8);
    const depth = pushes ? random.between(0, random.chance(0.1) ? 8 : 7) : random.between(random.chance(0.1) ? 0 : 2, 8);
    let tag = 0;
    for (let i = 0; i < depth; i++) tag |= 1 << ((top + i) & 7);
    if (random.chance(0.06)) tag = random.below(256);
    const old = random.chance(0.8) ? 0 : random.below(64) & (random.chance(0.9) ? masks : 63);
    const stackFault = random.chance(0.05) ? 0x40 : 0;
    const pending = old & ~masks & 0x3f ? 0x8080 : 0;
    const fsw = (top << 11) | old | stackFault | pending | (random.below(8) << 8) | (random.below(2) << 14);
    this.view.setUint16(Image.fcw, fcw, true);
    this.view.setUint16(Image.fsw, fsw, true);
    this.image[Image.ftag] = tag;
    for (let i = 0; i < 3; i++) this.setSt(i, valueOf(random, 'f80'));
  }

  /** A random MXCSR: rounding, flush-to-zero, denormals-are-zero, masks, old flags. */
  randomMxcsr(): void {
    const random = this.#random;
    const masks = random.chance(0.8) ? 0x3f : random.below(64);
    const zeroing = (random.chance(0.15) ? 0x8000 : 0) | (random.chance(0.15) ? 0x40 : 0);
    const old = random.chance(0.85) ? 0 : random.below(64);
    this.view.setUint32(Image.mxcsr, (masks << 7) | (random.below(4) << 13) | zeroing | old, true);
  }
}

/** The image that every case of a file starts from: all registers hold something of their own, so that a wrong write shows. */
export function makeBackground(random: Random, mode: VectorMode): Uint8Array {
  const image = new Uint8Array(Image.size);
  const view = new DataView(image.buffer);
  for (let i = 0; i < 16; i++) view.setBigUint64(8 * i, mode === 64 || i >= 8 ? random.bits(64) : random.bits(32), true);
  view.setBigUint64(8 * 4, BigInt(Place.window + 0x1000), true);
  view.setBigUint64(Image.rip, BigInt(Place.start), true);
  view.setBigUint64(Image.rflags, 0x202n, true);
  view.setUint32(Image.mxcsr, 0x1f80, true);
  view.setUint16(Image.fcw, 0x37f, true);
  view.setUint16(Image.fsw, 3 << 11, true);
  image[Image.ftag] = 0xd3;
  for (let i = 0; i < 8; i++) {
    view.setBigUint64(Image.fpr + 16 * i, random.bits(64) | (1n << 63n), true);
    view.setUint16(Image.fpr + 16 * i + 8, 0x3ff0 + random.below(32), true);
  }
  for (let at = Image.vec; at < Image.size; at++) image[at] = at >= Image.vec + 512 && at < Image.memory ? 0 : random.below(256);
  return image;
}
