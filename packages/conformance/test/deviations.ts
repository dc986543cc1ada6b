/**
 * Where the interpreter differs from the CPU that the vectors come from, and why: only where manuals leave a choice or the two vendors differ. A form that is not
 * named here must pass every case; an entry that nothing needs any more fails the full run (`NESTVM_VECTORS=full`), so that this list only gets shorter.
 */
export interface Deviation {
  readonly form: RegExp;
  /** What differs: all differences of a case must be of these. */
  readonly difference: RegExp;
  readonly reason: string;
}

export const deviations: readonly Deviation[] = [
  {
    form: /^FU?COMIP? /,
    difference: /^RFLAGS is/,
    reason: 'an unordered comparison with #IA unmasked leaves RFLAGS alone, as the SDM says; AMD sets ZF PF CF',
  },
  {
    form: /^MOVSXD r16, r\/m16 /,
    difference: /^(it came to no exception, should be exception 1[47]|R\w+ is)/,
    reason: 'MOVSXD of 16 bits reads 16 bits, as the SDM says; AMD reads 32 and so faults at the end of a page, and checks the alignment of 32',
  },
  {
    form: /^POPAD? /,
    difference: /^R\w+ is/,
    reason: 'no instruction that faults has changed a register; AMD has loaded those whose slots come before the page that is absent',
  },
];
