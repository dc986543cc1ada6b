import { type Instruction, Prefix } from '@nestvm/decoder';
import { CetControl, ControlProtection, Mode, Segment, Vector } from '@nestvm/isa';
import { updateModeBits } from '../mode.js';
import { Outcome } from '../outcome.js';
import { INT3 } from '../system/interrupts.js';
import type { Vcpu } from '../vcpu.js';
import { CPL, MODE, RIP, S_CET, SEG_BASE, U_CET } from '../words.js';
import { awaitEndbranch, endTracking } from './state.js';

/** Notes a near indirect branch of the present CPL; `insn` may be exempt by NOTRACK. Tracking is on and not suppressed. */
export function noteIndirectBranch(cpu: Vcpu, insn: Readonly<Instruction>): void {
  const w = cpu.w;
  const control = w[w[CPL] === 3 ? U_CET : S_CET]!;
  if ((insn.prefixes & Prefix.NOTRACK) !== 0 && (control & CetControl.NO_TRACK_EN) !== 0) return;
  awaitEndbranch(cpu, w[CPL]!);
  updateModeBits(cpu);
}

/** The ENDBRANCH of the code segment's size ends waiting and suppression; the other one does nothing. */
export function endbranch(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  if ((insn.row.mnemonic === 'ENDBR64') === ((cpu.w[MODE]! & Mode.LONG) !== 0)) {
    endTracking(cpu, cpu.w[CPL]!, false);
    updateModeBits(cpu);
  }
  return Outcome.NEXT;
}

/**
 * Looks the page of RIP up in the bitmap of legacy code (SDM Vol. 1, "Legacy Compatibility Treatment"): 1 legacy code, 0 not, -1 a fault was recorded. The bitmap is
 * read by the processor itself.
 */
function legacyCode(cpu: Vcpu, control: number, bitmapHi: number): number {
  const w = cpu.w;
  const long = (w[MODE]! & Mode.LONG) !== 0;
  const lo = long ? w[RIP]! : (w[RIP]! + w[SEG_BASE + 2 * Segment.CS]!) | 0;
  const hi = long ? w[RIP + 1]! & 0xffff : 0;
  // Bits 47:15 of the linear address count bytes of the bitmap.
  const offsetLo = (lo >>> 15) | (hi << 17);
  const at = ((control & ~0xfff) + offsetLo) | 0;
  const carry = at >>> 0 < offsetLo >>> 0 ? 1 : 0;
  const byte = cpu.tables.read8(at, (bitmapHi + (hi >>> 15) + carry) | 0, false);
  return byte < 0 ? -1 : (byte >>> ((lo >>> 12) & 7)) & 1;
}

/**
 * Carries out whatever comes where an ENDBRANCH is due: that, INT3, or legacy code, whose first instruction is then begun anew without tracking; anything else is #CP.
 */
export function atBranchTarget(cpu: Vcpu, insn: Readonly<Instruction>): Outcome {
  const w = cpu.w;
  const due = (w[MODE]! & Mode.LONG) !== 0 ? 'ENDBR64' : 'ENDBR32';
  if (insn.length > 0 && insn.row.mnemonic === due) return endbranch(cpu, insn);
  if (insn.length > 0 && insn.row.mnemonic === 'INT3') return INT3(cpu, insn);
  const at = w[CPL] === 3 ? U_CET : S_CET;
  if ((w[at]! & CetControl.LEG_IW_EN) !== 0) {
    const legacy = legacyCode(cpu, w[at]!, w[at + 1]!);
    if (legacy < 0) return Outcome.FAULT;
    if (legacy !== 0) {
      endTracking(cpu, w[CPL]!, true);
      updateModeBits(cpu);
      return Outcome.JUMPED;
    }
  }
  return cpu.raise(Vector.CP, ControlProtection.ENDBRANCH);
}
