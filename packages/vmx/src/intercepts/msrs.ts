import { readApicMsr, writeApicMsr } from '../apic/msrs.js';
import { Proc1, Proc3 } from '../controls/controls.js';
import { exitForInstruction } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';
import { readSpecCtrl, SPEC_CTRL, writeSpecCtrl } from './spec-ctrl.js';

/** Whether the access exits: the bitmaps cover 0-1FFFH and C0000000H-C0001FFFH, a KiB each for reading and then for writing. */
function exits(vmx: Vmx, index: number, write: boolean): boolean {
  const { controls, memory } = vmx;
  if (!controls.hasProc1(Proc1.USE_MSR_BITMAPS)) return true;
  const low = index < 0x2000;
  if (!low && (index < 0xc0000000 || index > 0xc0001fff)) return true;
  const at = controls.msrBitmap + (low ? 0 : 0x400) + (write ? 0x800 : 0) + ((index & 0x1fff) >>> 3);
  return ((memory.read8(at) >>> (index & 7)) & 1) !== 0;
}

export function msrRead(vmx: Vmx, length: number, index: number): boolean {
  if (exits(vmx, index, false)) return exitForInstruction(vmx, ExitReason.RDMSR, length);
  if (index === SPEC_CTRL && vmx.controls.hasProc3(Proc3.VIRTUALIZE_SPEC_CTRL)) return readSpecCtrl(vmx, length);
  return readApicMsr(vmx, index, length);
}

export function msrWrite(vmx: Vmx, length: number, index: number): boolean {
  if (exits(vmx, index, true)) return exitForInstruction(vmx, ExitReason.WRMSR, length);
  if (index === SPEC_CTRL && vmx.controls.hasProc3(Proc3.VIRTUALIZE_SPEC_CTRL)) return writeSpecCtrl(vmx, length);
  return writeApicMsr(vmx, index, length);
}
