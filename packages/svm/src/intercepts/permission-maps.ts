import { word } from '@nestvm/cpu/extension';
import { Prefix } from '@nestvm/decoder';
import { PAGE_BYTES } from '@nestvm/memory';
import type { SvmContext } from '../context.js';
import { ExitCode } from '../exits/codes.js';
import { Vmcb } from '../vmcb/layout.js';

const MSR_BITMAP = word('msrBitmap');

/** The page-aligned address of a map, as a field of the VMCB has it. */
const mapAddress = ({ i32, vmcb }: SvmContext, field: number): number =>
  (i32[vmcb + field + 1]! >>> 0) * 4294967296 + ((i32[vmcb + field]! & ~0xfff) >>> 0);

/** A bit field of guest memory: byte at `offset` from the page-aligned address in the VMCB. */
function mapByte(svm: SvmContext, field: number, offset: number): number {
  return svm.memory.read8(mapAddress(svm, field) + offset);
}

/** Whether the I/O permission map intercepts `width` bytes from a port on (APM Vol. 2, "IOIO Intercepts"). */
export function isPortIntercepted(svm: SvmContext, port: number, width: number): boolean {
  const offset = port >>> 3;
  const bits = mapByte(svm, Vmcb.IOPM_BASE, offset) | (mapByte(svm, Vmcb.IOPM_BASE, offset + 1) << 8);
  return ((bits >>> (port & 7)) & ((1 << width) - 1)) !== 0;
}

/** EXITINFO1 of an intercepted IN, OUT, INS or OUTS. */
export function ioExitInfo(svm: SvmContext, port: number, write: boolean, width: number): number {
  const insn = svm.cpu.instruction!;
  const string = insn.row.mnemonic === 'INS' || insn.row.mnemonic === 'OUTS';
  let info = (port << 16) | (width << 4) | (write ? 0 : 1);
  info |= insn.addressSize === 16 ? 0x80 : insn.addressSize === 32 ? 0x100 : 0x200;
  if (!string) return info;
  if ((insn.prefixes & (Prefix.REP | Prefix.REPNE)) !== 0) info |= 8;
  return info | 4 | ((write ? insn.segment : 0) << 10);
}

/** Byte of the MSR permission map where a range of 8192 registers begins; two bits for each. */
function msrRange(index: number): number {
  if (index < 0x2000) return 0;
  if (index >= 0xc0000000 && index < 0xc0002000) return 0x800;
  return index >= 0xc0010000 && index < 0xc0012000 ? 0x1000 : -1;
}

/** Bit of the MSR permission map; -1 outside of its ranges. */
export function msrBit(index: number, write: boolean): number {
  const range = msrRange(index >>> 0);
  return range < 0 ? -1 : 8 * range + 2 * (index & 0x1fff) + (write ? 1 : 0);
}

/** Lends generated code the MSR permission map, while that decides and lies in one piece of memory. */
export function lendMsrMap(svm: SvmContext): void {
  const { i32, vmcb, memory, cpu } = svm;
  const address = mapAddress(svm, Vmcb.MSRPM_BASE);
  const offset = memory.arenaOffsetOf(address);
  const isWhole = offset >= 0 && memory.arenaOffsetOf(address + PAGE_BYTES) === offset + PAGE_BYTES;
  const isAsked = ((i32[vmcb + Vmcb.INTERCEPTS]! >>> (ExitCode.MSR & 31)) & 1) !== 0;
  cpu.w[MSR_BITMAP] = isWhole && isAsked ? offset : 0;
}

/** Whether the MSR permission map intercepts an access; registers outside of its ranges always are (APM Vol. 2, "MSR Intercepts"). */
export function isMsrIntercepted(svm: SvmContext, index: number, write: boolean): boolean {
  const bit = msrBit(index, write);
  return bit < 0 || ((mapByte(svm, Vmcb.MSRPM_BASE, bit >>> 3) >>> (bit & 7)) & 1) !== 0;
}
