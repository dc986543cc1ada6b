import { GPR, type Instruction, MODE, Outcome, readRm, writeRm } from '@nestvm/cpu/extension';
import { Mode } from '@nestvm/isa';
import { Misc } from '../capabilities/capabilities.js';
import { sectionsOfField } from '../checks/table.js';
import { Proc2 } from '../controls/controls.js';
import { F, FieldArea, FieldWidth, fieldOrdinal, fields, VmcsHeader, wordOfOrdinal } from '../fields/layout.js';
import { addressAt, pageOf } from '../state.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { exitWithOperand, inNonRoot } from './exits.js';
import { fail, failInvalid, InstructionError, isPrivileged, isUndefinedHere, protection, succeed, undefinedOpcode } from './results.js';

const f = { link: F.VMCS_LINK_POINTER, readBitmap: F.VMREAD_BITMAP, writeBitmap: F.VMWRITE_BITMAP } as const;

/** What VMREAD shows and VMWRITE keeps of each field, by ordinal: the masks of the halves. */
const lowMask = Int32Array.from(fields, (field) => (field.width === FieldWidth.BITS_16 ? 0xffff : -1));
const highMask = Int32Array.from(fields, (field) => (field.width === FieldWidth.BITS_64 || field.width === FieldWidth.NATURAL ? -1 : 0));
const readOnly = Uint8Array.from(fields, (field) => (field.area === FieldArea.READ_ONLY ? 1 : 0));

/** True when the guest's access goes to the shadow VMCS: the control is on, and the bitmap has a 0 for the field. */
function isShadowed(vmx: Vmx, bitmap: number, lo: number, hi: number): boolean {
  const { controls, i32, region, memory } = vmx;
  if (!controls.hasProc2(Proc2.VMCS_SHADOWING) || hi !== 0 || (lo & ~0x7fff) !== 0) return false;
  const byte = memory.read8(addressAt(i32, region + bitmap) + (lo >>> 3));
  return ((byte >>> (lo & 7)) & 1) === 0;
}

/** First word of the VMCS that VMREAD and VMWRITE work on: the current one, or the one that the link pointer names; -1 for none. */
function targetRegion(vmx: Vmx): number {
  const { i32, region, cpu } = vmx;
  if (!inNonRoot(cpu)) return region;
  const at = region + f.link;
  if (i32[at] === -1 && i32[at + 1] === -1) return -1;
  return vmx.wordsAt(pageOf(addressAt(i32, at)));
}

/** Ordinal of the field that a register names, or -1. */
function ordinalOf(vmx: Vmx, lo: number, hi: number): number {
  const ordinal = hi !== 0 ? -1 : fieldOrdinal(lo);
  return ordinal >= 0 && vmx.capabilities.fieldExists[ordinal] === 1 ? ordinal : -1;
}

/** Reads a field of the VMCS (SDM Vol. 3, VMREAD). */
export function VMREAD(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu, i32 } = vmx;
  const { w } = cpu;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  const long = (w[MODE]! & Mode.LONG) !== 0;
  const lo = w[GPR + 2 * insn.reg]!;
  const hi = long ? w[GPR + 2 * insn.reg + 1]! : 0;
  if (inNonRoot(cpu) && !isShadowed(vmx, f.readBitmap, lo, hi)) return exitWithOperand(vmx, ExitReason.VMREAD, insn, insn.reg);
  if (!isPrivileged(cpu)) return protection(cpu);
  const region = targetRegion(vmx);
  if (region < 0) return failInvalid(vmx);
  const ordinal = ordinalOf(vmx, lo, hi);
  if (ordinal < 0) return fail(vmx, InstructionError.UNSUPPORTED_FIELD);
  const at = region + wordOfOrdinal(ordinal);
  const high = (lo & 1) !== 0;
  const valueLo = high ? i32[at + 1]! : i32[at]! & lowMask[ordinal]!;
  const valueHi = high ? 0 : i32[at + 1]! & highMask[ordinal]!;
  if (!writeRm(cpu, insn, long ? 64 : 32, valueLo, valueHi)) return Outcome.FAULT;
  return succeed(cpu);
}

/** Writes a field of the VMCS (SDM Vol. 3, VMWRITE). */
export function VMWRITE(vmx: Vmx, insn: Readonly<Instruction>): Outcome {
  const { cpu } = vmx;
  const { w } = cpu;
  if (!vmx.on || isUndefinedHere(cpu)) return undefinedOpcode(cpu);
  const long = (w[MODE]! & Mode.LONG) !== 0;
  const lo = w[GPR + 2 * insn.reg]!;
  const hi = long ? w[GPR + 2 * insn.reg + 1]! : 0;
  if (inNonRoot(cpu) && !isShadowed(vmx, f.writeBitmap, lo, hi)) return exitWithOperand(vmx, ExitReason.VMWRITE, insn, insn.reg);
  if (!isPrivileged(cpu)) return protection(cpu);
  const region = targetRegion(vmx);
  if (region < 0) return failInvalid(vmx);
  if (!readRm(cpu, insn, long ? 64 : 32)) return Outcome.FAULT;
  const ordinal = ordinalOf(vmx, lo, hi);
  if (ordinal < 0) return fail(vmx, InstructionError.UNSUPPORTED_FIELD);
  if (readOnly[ordinal] === 1 && (vmx.capabilities.miscLo & Misc.VMWRITE_READ_ONLY) === 0) return fail(vmx, InstructionError.READ_ONLY_FIELD);
  store(vmx, region, ordinal, (lo & 1) !== 0, long);
  return succeed(cpu);
}

/** Puts `cpu.lo`/`cpu.hi` into a field; outside of 64-bit mode a 64-bit write of a natural-width or 64-bit field clears the high half. */
function store(vmx: Vmx, region: number, ordinal: number, high: boolean, long: boolean): void {
  const { i32, cpu } = vmx;
  const at = region + wordOfOrdinal(ordinal);
  const low = high ? i32[at]! : cpu.lo & lowMask[ordinal]!;
  const upper = high ? cpu.lo : long ? cpu.hi & highMask[ordinal]! : 0;
  vmx.touch(region);
  if (i32[at] === low && i32[at + 1] === upper) return;
  i32[at] = low;
  i32[at + 1] = upper;
  i32[region + VmcsHeader.CLEAN_GROUPS] = i32[region + VmcsHeader.CLEAN_GROUPS]! & ~sectionsOfField[ordinal]!;
}
