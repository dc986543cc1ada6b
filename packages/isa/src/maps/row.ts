/**
 * One row of the opcode maps (SDM Vol. 2, Appendix A): an encoding and all that is not meaning.
 * `M` is the literal mnemonic, so that a table keyed by mnemonic can be checked for completeness by the compiler.
 */
export interface OpcodeRow<M extends string = string> {
  /** Dense index of this row among all rows; stable within one build. */
  readonly id: number;
  /** Upper-case mnemonic as the manual prints it, without size suffix letters that operand size implies (MOVS, not MOVSB/W/D; CBW covers CWDE and CDQE is a row property of text only). */
  readonly mnemonic: M;
  /** Operands in Intel order. */
  readonly operands: readonly OperandSpec[];
  /** May take LOCK with a memory destination. */
  readonly lock: boolean;
  /** REP family: `rep` (MOVS STOS LODS INS OUTS), `repz` (CMPS SCAS), or none. */
  readonly rep: 'none' | 'rep' | 'repz';
  /** Needs CPL 0 (#GP otherwise). */
  readonly cpl0: boolean;
  /** Checked against IOPL (and the I/O bitmap where it applies). */
  readonly iopl: boolean;
  /** Not encodable / only encodable in 64-bit mode; default or forced 64-bit operand size there. */
  readonly mode64: 'any' | 'invalid' | 'only' | 'default64' | 'force64';
  /** Only in protected mode (#UD in real and virtual-8086 mode). */
  readonly protectedOnly: boolean;
  /** CPUID feature that must be offered, in QEMU's feature names (`sse2`, `bmi1`, `avx2`), or null for the 8086-to-i486 base. Several: all needed. */
  readonly features: readonly string[];
  /** The event that a hypervisor can intercept (VMX exit or SVM intercept), or null. */
  readonly sensitive: string | null;
  /** True where the instruction ends a block: it may change RIP, mode, translation, or must be followed by an event check. */
  readonly endsBlock: boolean;
  /** Encoding space. */
  readonly encoding: 'legacy' | 'vex' | 'evex';
  /** For VEX and EVEX: required vector length in bits, 0 when both/all lengths or ignored. */
  readonly vectorLength: 0 | 128 | 256 | 512;
}

/**
 * An operand in the notation of SDM Vol. 2, Appendix A.2 ("Key to Abbreviations"): addressing method letter(s) and type letters,
 * e.g. E+v, G+b, I+z, sI+b (sign-extended immediate byte), J+z, O+v, Z+v (register in the low three opcode bits), V+x, H+x, W+x, L+x,
 * P, Q, N (MMX), M, R, U, N, S, C, D, X, Y, A, F, B (VEX.vvvv general register), ST (top), STi, K/kR (opmask by reg, rm, vvvv: KG, KE, KB),
 * or a fixed register/constant: `AL`, `CL`, `DX`, `rAX` (by operand size), `eAX`, `1`, `ES`, `CS`, …
 */
export interface OperandSpec {
  readonly method: string;
  /** Type letters: b w d q v y z dq qq x ps pd ss sd p s a t … ; empty for fixed registers. */
  readonly type: string;
  readonly access: 'r' | 'w' | 'rw' | 'none';
}
