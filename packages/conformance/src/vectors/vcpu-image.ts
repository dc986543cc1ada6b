import { vcpuState } from '@nestvm/isa';
import { Image } from './image.js';

const CF = 1,
  PF = 4,
  AF = 0x10,
  ZF = 0x40,
  SF = 0x80,
  OF = 0x800;
const STATUS = CF | PF | AF | ZF | SF | OF;

/** The lazy form of explicit arithmetic flags (docs/explanation/architecture.md, "Arithmetic flags are lazy"). */
function writeStatus(view: DataView, base: number, flags: number): void {
  const result = flags & ZF ? 0 : 1;
  const parityOfResult = result === 0;
  const carry = flags & CF ? 1 : 0;
  let aux = (carry << 31) | ((carry ^ (flags & OF ? 1 : 0)) << 30) | (flags & SF ? 1 : 0) | (flags & AF ? 8 : 0);
  if (parityOfResult !== Boolean(flags & PF)) aux |= 0x100;
  view.setBigUint64(base + vcpuState.offset.flagResult, BigInt(result), true);
  view.setInt32(base + vcpuState.offset.flagAux, aux, true);
}

function evenParity(byte: number): boolean {
  let folded = byte ^ (byte >>> 4);
  folded ^= folded >>> 2;
  folded ^= folded >>> 1;
  return (folded & 1) === 0;
}

function readStatus(view: DataView, base: number): number {
  const result = view.getBigUint64(base + vcpuState.offset.flagResult, true);
  const aux = view.getUint32(base + vcpuState.offset.flagAux, true);
  const carry = aux >>> 31;
  let flags = carry ? CF : 0;
  if (carry ^ ((aux >>> 30) & 1)) flags |= OF;
  if (aux & 8) flags |= AF;
  if (result === 0n) flags |= ZF;
  if (Number(result >> 63n) ^ (aux & 1)) flags |= SF;
  if (evenParity((Number(result & 0xffn) ^ (aux >>> 8)) & 0xff)) flags |= PF;
  return flags;
}

function copy(from: Uint8Array, at: number, to: Uint8Array, where: number, length: number): void {
  to.set(from.subarray(at, at + length), where);
}

/** Writes the registers of an image into a vCPU's state at `base` of `memory`; mode, segments and control registers are the caller's, FS and GS bases excepted. */
export function imageToVcpu(image: Uint8Array, memory: Uint8Array, base: number): void {
  const { offset } = vcpuState;
  const view = new DataView(memory.buffer, memory.byteOffset);
  const source = new DataView(image.buffer, image.byteOffset);
  copy(image, Image.gpr, memory, base + offset.gpr, 128);
  copy(image, Image.rip, memory, base + offset.rip, 8);
  const flags = source.getUint32(Image.rflags, true);
  writeStatus(view, base, flags);
  view.setUint32(base + offset.rflags, flags & ~STATUS, true);
  copy(image, Image.fsBase, memory, base + offset.segBase + 8 * 4, 8);
  copy(image, Image.gsBase, memory, base + offset.segBase + 8 * 5, 8);
  copy(image, Image.mxcsr, memory, base + offset.mxcsr, 4);
  const fsw = source.getUint16(Image.fsw, true);
  view.setUint32(base + offset.fcw, source.getUint16(Image.fcw, true), true);
  view.setUint32(base + offset.fsw, fsw & ~0x3800, true);
  view.setUint32(base + offset.ftop, (fsw >> 11) & 7, true);
  view.setUint32(base + offset.ftag, image[Image.ftag], true);
  copy(image, Image.fpr, memory, base + offset.fpr, 128);
  memory.fill(0, base + offset.vec, base + offset.vec + 2048);
  for (let i = 0; i < 16; i++) copy(image, Image.vec + 32 * i, memory, base + offset.vec + 64 * i, 32);
}

/** Reads the registers of a vCPU's state into an image; memory is the caller's. */
export function vcpuToImage(memory: Uint8Array, base: number, image: Uint8Array): void {
  const { offset } = vcpuState;
  const view = new DataView(memory.buffer, memory.byteOffset);
  const target = new DataView(image.buffer, image.byteOffset);
  copy(memory, base + offset.gpr, image, Image.gpr, 128);
  copy(memory, base + offset.rip, image, Image.rip, 8);
  target.setUint32(Image.rflags, (view.getUint32(base + offset.rflags, true) & ~STATUS) | readStatus(view, base), true);
  copy(memory, base + offset.segBase + 8 * 4, image, Image.fsBase, 8);
  copy(memory, base + offset.segBase + 8 * 5, image, Image.gsBase, 8);
  copy(memory, base + offset.mxcsr, image, Image.mxcsr, 4);
  target.setUint16(Image.fcw, view.getUint32(base + offset.fcw, true), true);
  const top = view.getUint32(base + offset.ftop, true) & 7;
  target.setUint16(Image.fsw, (view.getUint32(base + offset.fsw, true) & ~0x3800) | (top << 11), true);
  image[Image.ftag] = view.getUint32(base + offset.ftag, true);
  copy(memory, base + offset.fpr, image, Image.fpr, 128);
  for (let i = 0; i < 8; i++) image.fill(0, Image.fpr + 16 * i + 10, Image.fpr + 16 * i + 16);
  for (let i = 0; i < 16; i++) copy(memory, base + offset.vec + 64 * i, image, Image.vec + 32 * i, 32);
}
