import { CR0, CR4, GPR, isRegisterForm, MODE, RIP, uncheckedAddress } from '@nestvm/cpu/extension';
import { Cr0, Mode } from '@nestvm/isa';
import { Proc1 } from '../controls/controls.js';
import { F } from '../fields/layout.js';
import { exitQualified } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

const f = { targetCount: F.CR3_TARGET_COUNT, targets: [F.CR3_TARGET_0, F.CR3_TARGET_1, F.CR3_TARGET_2, F.CR3_TARGET_3] } as const;

/** Kinds of access in the exit qualification, bits 5:4. */
const AccessKind = { MOV_TO: 0, MOV_FROM: 1, CLTS: 2, LMSW: 3 } as const;

const qualification = (register: number, kind: number, gpr: number): number => register | (kind << 4) | (gpr << 8);

/** True when the value to be loaded into CR3 is one of the CR3-target values. */
function isTarget(vmx: Vmx, lo: number, hi: number): boolean {
  const { i32, region } = vmx;
  const count = Math.min(4, i32[region + f.targetCount]! >>> 0);
  for (let i = 0; i < count; i++) {
    const at = region + f.targets[i]!;
    if (i32[at] === lo && i32[at + 1] === hi) return true;
  }
  return false;
}

/** Whether a MOV to CR0 or CR4 touches a bit that the hypervisor owns, to make it differ from the read shadow. High halves: the shadow's are what the guest sees. */
const touches = (mask: number, shadow: number, value: number): boolean => ((value ^ shadow) & mask) !== 0;

/** MOV to a control register. */
export function controlWrite(vmx: Vmx, length: number, register: number, _write: boolean, gpr: number): boolean {
  const { controls, cpu } = vmx;
  const { w } = cpu;
  const lo = w[GPR + 2 * gpr]!;
  const hi = (w[MODE]! & Mode.LONG) !== 0 ? w[GPR + 2 * gpr + 1]! : 0;
  let exits = false;
  if (register === 0) exits = touches(controls.cr0Mask, controls.cr0Shadow, lo);
  else if (register === 4) exits = touches(controls.cr4Mask, controls.cr4Shadow, lo);
  else if (register === 3) exits = controls.hasProc1(Proc1.CR3_LOAD_EXITING) && !isTarget(vmx, lo, hi);
  else if (register === 8) exits = controls.hasProc1(Proc1.CR8_LOAD_EXITING);
  return exits && exitQualified(vmx, ExitReason.CONTROL_REGISTER, length, qualification(register, AccessKind.MOV_TO, gpr));
}

/** MOV from a control register; what CR0 and CR4 show is `visibleControl`'s. */
export function controlRead(vmx: Vmx, length: number, register: number, _write: boolean, gpr: number): boolean {
  const { controls } = vmx;
  const exits = (register === 3 && controls.hasProc1(Proc1.CR3_STORE_EXITING)) || (register === 8 && controls.hasProc1(Proc1.CR8_STORE_EXITING));
  return exits && exitQualified(vmx, ExitReason.CONTROL_REGISTER, length, qualification(register, AccessKind.MOV_FROM, gpr));
}

/** CLTS: exits when the hypervisor owns TS and shows it set; does nothing when it owns it and shows it clear. */
export function clts(vmx: Vmx, length: number): boolean {
  const { controls, cpu } = vmx;
  if ((controls.cr0Mask & Cr0.TS) === 0) return false;
  if ((controls.cr0Shadow & Cr0.TS) !== 0) return exitQualified(vmx, ExitReason.CONTROL_REGISTER, length, qualification(0, AccessKind.CLTS, 0));
  skip(vmx, length);
  cpu.attention = 1;
  return true;
}

/** Moves RIP past an instruction that needs nothing more. */
export function skip(vmx: Vmx, length: number): void {
  const { w } = vmx.cpu;
  const sum = (w[RIP]! >>> 0) + length;
  w[RIP] = sum;
  w[RIP + 1] = (w[MODE]! & Mode.LONG) === 0 ? 0 : (w[RIP + 1]! + (sum > 0xffffffff ? 1 : 0)) | 0;
}

/** LMSW of `source`: exits when it would change an owned bit of MP, EM, TS, or set an owned PE that is shown clear. */
export function lmsw(vmx: Vmx, length: number, source: number): boolean {
  const { controls, cpu } = vmx;
  const changed = (source ^ controls.cr0Shadow) & controls.cr0Mask;
  const exits = (changed & 0xe) !== 0 || (changed & source & Cr0.PE) !== 0;
  if (!exits) return false;
  const insn = cpu.instruction!;
  const memory = !isRegisterForm(insn);
  if (memory) {
    uncheckedAddress(cpu, insn);
    vmx.exitRecord.linearLo = cpu.lo;
    vmx.exitRecord.linearHi = cpu.hi;
  }
  return exitQualified(vmx, ExitReason.CONTROL_REGISTER, length, qualification(0, AccessKind.LMSW, 0) | (memory ? 1 << 6 : 0) | (source << 16));
}

/** MOV to and from debug registers. */
export function debugRegister(vmx: Vmx, length: number, register: number, write: boolean, gpr: number): boolean {
  if (!vmx.controls.hasProc1(Proc1.MOV_DR_EXITING)) return false;
  return exitQualified(vmx, ExitReason.MOV_DR, length, register | (write ? 0 : 1 << 4) | (gpr << 8));
}

/** What the guest sees of CR0 or CR4: the read shadow where the hypervisor owns the bit. Into `cpu.lo`/`cpu.hi`. */
export function visibleControl(vmx: Vmx, register: 0 | 4): void {
  const { controls, cpu } = vmx;
  if (register === 0) {
    cpu.lo = (cpu.w[CR0]! & ~controls.cr0Mask) | (controls.cr0Shadow & controls.cr0Mask);
    cpu.hi = controls.cr0High;
  } else {
    cpu.lo = (cpu.w[CR4]! & ~controls.cr4Mask) | (controls.cr4Shadow & controls.cr4Mask);
    cpu.hi = controls.cr4High;
  }
}

/** What a write by the guest leaves in CR0 or CR4: bits that the hypervisor owns stay. */
export function mergedControl(vmx: Vmx, register: 0 | 4, value: number): number {
  const { controls } = vmx;
  const { w } = vmx.cpu;
  if (register === 0) return (w[CR0]! & controls.cr0Mask) | (value & ~controls.cr0Mask);
  return (w[CR4]! & controls.cr4Mask) | (value & ~controls.cr4Mask);
}
