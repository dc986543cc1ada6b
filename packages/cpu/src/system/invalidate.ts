import type { Instruction } from '@nestvm/decoder';
import { Cr4, Mode, Vector } from '@nestvm/isa';
import { operandAddress, uncheckedAddress } from '../address.js';
import { isCanonical } from '../mode.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, GPR, MODE } from '../words.js';

/** Invalidates one page's translations; a non-canonical address does nothing. */
export function INVLPG(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  uncheckedAddress(cpu, insn);
  const lo = cpu.lo;
  const hi = cpu.hi;
  if (cpu.intercepted('INVLPG', insn.length, lo, false, hi)) return Outcome.JUMPED;
  if (isCanonical(cpu, hi)) cpu.mmu.invalidatePage(lo, hi);
  return Outcome.NEXT;
}

/** Invalidates by PCID (SDM Vol. 2, INVPCID). */
export function INVPCID(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const { w, linear } = cpu;
  const mode = w[MODE]!;
  if ((mode & Mode.V8086) !== 0) return cpu.raise(Vector.GP, 0);
  if (cpu.intercepted('INVPCID', insn.length)) return Outcome.JUMPED;
  const at = GPR + 2 * insn.reg;
  const type = w[at]! >>> 0;
  if (type > 3 || ((mode & Mode.LONG) !== 0 && w[at + 1] !== 0)) return cpu.raise(Vector.GP, 0);
  if (!operandAddress(cpu, insn, 16, false)) return Outcome.FAULT;
  const lo = cpu.lo;
  const hi = cpu.hi;
  if (!linear.read64(lo, hi, false)) return Outcome.FAULT;
  const pcidLo = linear.lo;
  const pcidHi = linear.hi;
  const upper = (lo + 8) | 0;
  if (!linear.read64(upper, (hi + (upper >>> 0 < 8 ? 1 : 0)) | 0, false)) return Outcome.FAULT;
  const pcid = pcidLo & 0xfff;
  if (type <= 1) {
    if ((pcidLo & ~0xfff) !== 0 || pcidHi !== 0) return cpu.raise(Vector.GP, 0);
    if (pcid !== 0 && (w[CR4]! & Cr4.PCIDE) === 0) return cpu.raise(Vector.GP, 0);
  }
  if (type === 0 && !isCanonical(cpu, linear.hi)) return cpu.raise(Vector.GP, 0);
  cpu.mmu.invpcid(type, pcid, linear.lo, linear.hi);
  return Outcome.NEXT;
}

/** Writes back and invalidates the caches: the emulator has none that the guest could see. */
export function WBINVD(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('WBINVD', insn.length)) return Outcome.JUMPED;
  return Outcome.NEXT;
}

/** Invalidates the caches without writing back. Memory is always up to date here, so nothing is lost. */
export function INVD(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if (cpu.intercepted('INVD', insn.length)) return Outcome.JUMPED;
  return Outcome.NEXT;
}
