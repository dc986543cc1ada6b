/**
 * Where the interpreter still differs from the CPU that the vectors come from, and why. A form that is not named here must pass every case; an entry that nothing needs
 * any more fails the full run (`NESTVM_VECTORS=full`), so that this list only gets shorter.
 */
export interface Deviation {
  readonly form: RegExp;
  /** What differs; a case that differs in another way is not excused. */
  readonly difference: RegExp;
  readonly reason: string;
}

export const deviations: readonly Deviation[] = [
  {
    form: /^(EXTRQ|INSERTQ|MOVNTS[SD]) /,
    difference: /exception 6/,
    reason: 'SSE4A is not implemented, and no CPU model offers it',
  },
  {
    form: /^V(AES\w+|PCLMULQDQ) ymm/,
    difference: /exception 6/,
    reason: 'VAES and VPCLMULQDQ are not implemented, and no CPU model offers them',
  },
  {
    form: /./,
    difference: /should be exception 17/,
    reason: '#AC is not raised by the fast path of repeated string instructions, PUSHF, LDMXCSR and x87 memory operands',
  },
  {
    form: /./,
    difference: /it came to (no exception|exception 14), should be exception 13/,
    reason: 'a write through CS in flat 32-bit code is not refused',
  },
  {
    form: /^V(P?GATHER)/,
    difference: /^YMM\d+ is/,
    reason: 'a gather that faults leaves the mask of lanes before the fault as it was, not all ones or zeros',
  },
  { form: /^IDIV r\/m64/, difference: /it came to exception 0/, reason: 'a quotient of -2^63 is taken for an overflow' },
  {
    form: /^(BSF|BSR) r32/,
    difference: /^R\w+ is/,
    reason: 'a zero source clears the upper half of the destination; AMD leaves all of it alone, Intel does not say',
  },
  {
    form: /^CMPXCHG r\/m32/,
    difference: /^R\w+ is/,
    reason: 'an unequal comparison clears the upper half of the destination register; AMD leaves it alone',
  },
  { form: /^ENTER .*o32/, difference: /./, reason: '32-bit ENTER on a 16-bit stack pushes 16 bits of EBP' },
  {
    form: /^FU?COMIP? /,
    difference: /^RFLAGS is/,
    reason: 'an unordered comparison with #IA unmasked leaves RFLAGS alone, as the SDM says; AMD sets ZF PF CF',
  },
];
