/**
 * What the manuals leave undefined, by mnemonic: these bits are not compared. Source: SDM Vol. 2, "Flags Affected" and "FPU Flags Affected" of each
 * instruction; SDM Vol. 1 Appendix A, "EFLAGS Cross-Reference".
 */

const CF = 1,
  PF = 4,
  AF = 0x10,
  ZF = 0x40,
  SF = 0x80,
  OF = 0x800;
const ALL = CF | PF | AF | ZF | SF | OF;

/** Undefined whatever the operands are. */
const always: Readonly<Record<string, number>> = {
  AAA: OF | SF | ZF | PF,
  AAS: OF | SF | ZF | PF,
  AAM: OF | AF | CF,
  AAD: OF | AF | CF,
  DAA: OF,
  DAS: OF,
  AND: AF,
  OR: AF,
  XOR: AF,
  TEST: AF,
  MUL: SF | ZF | AF | PF,
  IMUL: SF | ZF | AF | PF,
  DIV: ALL,
  IDIV: ALL,
  BSF: ALL & ~ZF,
  BSR: ALL & ~ZF,
  BT: OF | SF | AF | PF,
  BTS: OF | SF | AF | PF,
  BTR: OF | SF | AF | PF,
  BTC: OF | SF | AF | PF,
  LZCNT: OF | SF | AF | PF,
  TZCNT: OF | SF | AF | PF,
  ANDN: AF | PF,
  BEXTR: SF | AF | PF,
  BLSI: AF | PF,
  BLSR: AF | PF,
  BLSMSK: AF | PF,
  BZHI: AF | PF,
};

/** What a shift's flags depend on. */
export interface ShiftFacts {
  readonly mnemonic: string;
  /** Width of the destination in bits. */
  readonly bits: number;
  /** The count as the instruction gives it, before it is masked. */
  readonly count: number;
}

function shiftFlags({ mnemonic, bits, count }: ShiftFacts): number {
  const masked = count & (bits === 64 ? 63 : 31);
  if (masked === 0) return 0;
  const overflow = masked === 1 ? 0 : OF;
  if (mnemonic.startsWith('RO') || mnemonic.startsWith('RC')) return overflow;
  if (mnemonic === 'SHLD' || mnemonic === 'SHRD') return masked > bits ? ALL : overflow | AF;
  return overflow | AF | (mnemonic !== 'SAR' && masked >= bits ? CF : 0);
}

/** RFLAGS bits that an instruction leaves undefined; `shift` is given for shifts and rotates. */
export function undefinedFlags(mnemonic: string, shift: ShiftFacts | null): number {
  return shift ? shiftFlags(shift) : (always[mnemonic] ?? 0);
}

/** SHLD and SHRD of 16 bits by more than 16 leave the destination undefined too. */
export function undefinedDestination(shift: ShiftFacts | null): boolean {
  return shift !== null && /^SH[LR]D$/.test(shift.mnemonic) && (shift.count & (shift.bits === 64 ? 63 : 31)) > shift.bits;
}

const C0 = 0x100,
  C1 = 0x200,
  C2 = 0x400,
  C3 = 0x4000;
const definesConditions = /^(FU?COM(P|PP)?|FI?COMP?|FTST|FXAM|FPREM1?|FN?INIT|FLDENV|FRSTOR|FU?COMIP?)$/;
const leavesNothing = /^(FFREEP?|FNOP|FN?CLEX|FLDCW|FN?STCW|FN?STSW|FN?STENV|FN?SAVE|FWAIT|WAIT)$/;

/** Condition bits of the x87 status word that an instruction leaves undefined. */
export function undefinedConditions(mnemonic: string): number {
  if (!mnemonic.startsWith('F') && mnemonic !== 'WAIT') return 0;
  // C1 after FCOMI and its kind: cleared by Intel's, kept by AMD's.
  if (/^FU?COMIP?$/.test(mnemonic)) return C1;
  if (definesConditions.test(mnemonic)) return 0;
  if (leavesNothing.test(mnemonic)) return C0 | C1 | C2 | C3;
  if (/^F(SIN|COS|SINCOS|PTAN)$/.test(mnemonic)) return C0 | C3;
  return C0 | C2 | C3;
}

/** Instructions that access memory in several parts, so that CPUs differ in which address within the page is said to fault. */
export function faultsByParts(mnemonic: string): boolean {
  return /^(FLDENV|FN?STENV|FRSTOR|FN?SAVE)$/.test(mnemonic);
}

/** How far a result may be from the captured one where the manuals only bound the error. */
export type Tolerance = { readonly kind: 'f80'; readonly ulps: number } | { readonly kind: 'f32'; readonly relative: number };

/**
 * Transcendental x87 instructions are good to 1 ulp (SDM Vol. 1, "Transcendental Instruction Accuracy"), so two CPUs may differ by two, and in whether the result was
 * rounded up; reciprocal estimates have a relative error of at most 1.5 × 2^-12 (SDM Vol. 2, "RCPPS").
 */
export function toleranceOf(mnemonic: string): Tolerance | null {
  if (/^(F2XM1|FYL2X|FYL2XP1|FPTAN|FPATAN|FSIN|FCOS|FSINCOS)$/.test(mnemonic)) return { kind: 'f80', ulps: 2 };
  if (/^V?(RCP|RSQRT)[PS]S$/.test(mnemonic)) return { kind: 'f32', relative: 3 * 2 ** -12 };
  return null;
}
