import { EventKind, isFault, PENDING_DEBUG, SLOW_ADDRESS } from '@nestvm/cpu/extension';
import { Vector } from '@nestvm/isa';
import { exitGuest } from '../transitions/exit.js';
import { ExitReason } from '../transitions/reasons.js';
import type { Vmx } from '../vmx.js';

const VALID = 1 << 31;

/** The exception bitmap's word; for #PF the error code decides between 1 and 0 meaning "exit". */
function exits(vmx: Vmx, vector: number, error: number): boolean {
  const { controls } = vmx;
  const bit = (controls.exceptionBitmap >>> vector) & 1;
  if (vector !== Vector.PF) return bit === 1;
  const matches = (error & controls.pageFaultMask) === controls.pageFaultMatch;
  return bit === (matches ? 1 : 0);
}

/** Exit qualification: the address of a page fault, the causes of a debug exception. */
function qualify(vmx: Vmx, vector: number, kind: EventKind): void {
  const { w } = vmx.cpu;
  if (vector === Vector.PF) vmx.exitRecord.qualify(w[SLOW_ADDRESS]!, w[SLOW_ADDRESS + 1]!);
  else if (vector === Vector.DB) {
    vmx.exitRecord.qualify(kind === EventKind.EXCEPTION ? w[PENDING_DEBUG]! : 0);
    if (kind === EventKind.EXCEPTION) w[PENDING_DEBUG] = 0;
  }
}

/** See `Virtualization.interceptException`. */
export function interceptException(vmx: Vmx, vector: number, error: number, hasError: boolean, kind: EventKind): boolean {
  if (!exits(vmx, vector, error)) return false;
  const { cpu, exitRecord } = vmx;
  qualify(vmx, vector, kind);
  exitRecord.interruption = VALID | vector | (kind << 8) | (hasError ? 1 << 11 : 0) | (cpu.nmiUnblocked << 12);
  exitRecord.errorCode = error;
  if (kind !== EventKind.EXCEPTION) exitRecord.length = cpu.instruction!.length;
  else if (isFault(vector)) exitRecord.resumeFlag = 'set';
  // A double fault is the event itself, and not something that happened while another was delivered.
  if (vector === Vector.DF) cpu.vectoring = 0;
  exitGuest(vmx, ExitReason.EXCEPTION_OR_NMI);
  return true;
}
