import type { Instruction } from '@nestvm/decoder';
import { Cr4, Dr6, Dr7, Mode, Vector } from '@nestvm/isa';
import { raiseDebugFault } from '../events/debug.js';
import { updateModeBits } from '../mode.js';
import { writeGpr } from '../operands.js';
import { Outcome } from '../outcome.js';
import type { Vcpu } from '../vcpu.js';
import { CR4, DR, GPR, MODE } from '../words.js';
import { faultsComeFirst } from './intercept-order.js';

const DR6_FIXED = 0xffff0ff0 | 0;
const DR6_WRITABLE = 0xe00f;
const DR7_FIXED = 0x400;
const DR7_WRITABLE = 0xffff23ff | 0;

/** Takes the pages of armed data breakpoints out of the TLB, and puts mode bit SINGLE right. Call it after DR0-DR3 or DR7 changed. */
export function syncBreakpoints(cpu: Vcpu): void {
  const w = cpu.w;
  const dr7 = w[DR + 14]!;
  for (let i = 0; i < 4; i++) {
    const kind = (dr7 >>> (16 + 4 * i)) & 3;
    if (((dr7 >>> (2 * i)) & 3) !== 0 && (kind & 1) !== 0) cpu.mmu.watches.arm(i, w[DR + 2 * i]!, w[DR + 2 * i + 1]!);
    else cpu.mmu.watches.disarm(i);
  }
  updateModeBits(cpu);
}

function write(cpu: Vcpu, register: number, lo: number, hi: number): Outcome {
  const w = cpu.w;
  if (register >= 6 && hi !== 0) return cpu.raise(Vector.GP, 0);
  let value = lo;
  if (register === 6) value = (lo & DR6_WRITABLE) | DR6_FIXED;
  else if (register === 7) value = (lo & DR7_WRITABLE) | DR7_FIXED;
  w[DR + 2 * register] = value;
  w[DR + 2 * register + 1] = hi;
  if (register !== 6) syncBreakpoints(cpu);
  return Outcome.NEXT;
}

/** Moves to and from debug registers (SDM Vol. 2, MOV—Move to/from Debug Registers). */
export function MOV_DR(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  let register = insn.reg;
  if (register > 7) return cpu.raise(Vector.UD);
  if (register === 4 || register === 5) {
    if ((w[CR4]! & Cr4.DE) !== 0) return cpu.raise(Vector.UD);
    register += 2;
  }
  const isWrite = insn.row.operands[0]!.method === 'D';
  const long = (w[MODE]! & Mode.LONG) !== 0;
  const at = GPR + 2 * insn.rm;
  const hi = long ? w[at + 1]! : 0;
  if (faultsComeFirst(cpu)) {
    if ((w[DR + 14]! & Dr7.GD) !== 0) return raiseDebugFault(cpu, Dr6.BD);
    if (isWrite && register >= 6 && hi !== 0) return cpu.raise(Vector.GP, 0);
  }
  if (cpu.intercepted(isWrite ? 'DR_WRITE' : 'DR_READ', insn.length, register, isWrite, insn.rm)) return Outcome.JUMPED;
  if ((w[DR + 14]! & Dr7.GD) !== 0) return raiseDebugFault(cpu, Dr6.BD);
  if (isWrite) return write(cpu, register, w[at]!, hi);
  writeGpr(cpu, insn.rm, long ? 64 : 32, w[DR + 2 * register]!, w[DR + 2 * register + 1]!);
  return Outcome.NEXT;
}
