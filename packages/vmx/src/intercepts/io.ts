import { GPR, type Instruction, segmentAddress } from '@nestvm/cpu/extension';
import { Segment } from '@nestvm/isa';
import { Proc1 } from '../controls/controls.js';
import { addressSizeCode } from '../instructions/operand.js';
import { exitQualified } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

const RSI = GPR + 12;
const RDI = GPR + 14;
const REP = 6;

/** Whether port I/O exits: always, or by the bitmaps; an access that wraps past port FFFFH always does when bitmaps are used. */
function exits(vmx: Vmx, port: number, width: number): boolean {
  const { controls, memory } = vmx;
  if (!controls.hasProc1(Proc1.USE_IO_BITMAPS)) return controls.hasProc1(Proc1.UNCONDITIONAL_IO_EXITING);
  if (port + width > 0x10000) return true;
  for (let at = port; at < port + width; at++) {
    const byte = memory.read8((at < 0x8000 ? controls.ioBitmapA : controls.ioBitmapB) + ((at & 0x7fff) >>> 3));
    if (((byte >>> (at & 7)) & 1) !== 0) return true;
  }
  return false;
}

/** True when the port is an immediate. */
const isImmediate = (insn: Readonly<Instruction>, write: boolean): boolean => insn.row.operands[write ? 0 : 1]?.method !== 'DX';

const qualification = (port: number, width: number, write: boolean): number => (width - 1) | (write ? 0 : 1 << 3) | (port << 16);

/** IN and OUT. */
export function portAccess(vmx: Vmx, length: number, port: number, write: boolean, width: number): boolean {
  if (!exits(vmx, port, width)) return false;
  const immediate = isImmediate(vmx.cpu.instruction!, write) ? 1 << 6 : 0;
  return exitQualified(vmx, ExitReason.IO, length, qualification(port, width, write) | immediate);
}

/** INS and OUTS: also the linear address of the element, and segment and address size in the instruction information. */
export function stringPortAccess(vmx: Vmx, length: number, port: number, write: boolean, width: number): boolean {
  if (!exits(vmx, port, width)) return false;
  const { cpu, exitRecord } = vmx;
  const { w } = cpu;
  const insn = cpu.instruction!;
  const at = write ? RSI : RDI;
  const segment = write ? insn.segment : Segment.ES;
  const lo = insn.addressSize === 16 ? w[at]! & 0xffff : w[at]!;
  // The address is the sum even where the access itself would fault.
  segmentAddress(cpu, segment, lo, insn.addressSize === 64 ? w[at + 1]! : 0, width, !write);
  exitRecord.linearLo = cpu.lo;
  exitRecord.linearHi = cpu.hi;
  exitRecord.information = (addressSizeCode(insn) << 7) | (write ? segment << 15 : 0);
  const rep = (insn.prefixes & REP) !== 0 ? 1 << 5 : 0;
  return exitQualified(vmx, ExitReason.IO, length, qualification(port, width, write) | (1 << 4) | rep);
}
