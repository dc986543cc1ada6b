/** What the size of an operand depends on. */
export interface Sizes {
  readonly operandSize: 16 | 32 | 64;
  readonly vectorLength: number;
}

const FIXED: Record<string, number> = {
  b: 8,
  w: 16,
  d: 32,
  q: 64,
  dq: 128,
  qq: 256,
  oq: 512,
  ss: 32,
  sd: 64,
  sh: 16,
  fs: 32,
  fd: 64,
  ft: 80,
  fb: 80,
};

/** Types whose memory operand has no size in text: the mnemonic says it. */
export const UNSIZED: ReadonlySet<string> = new Set(['', 's', 'a', 'fe', 'fx', 'fxsave', 'xsave']);

/** Bits of a type letter of the opcode maps (SDM Vol. 2, Appendix A.2), 0 where it has no fixed size. */
export function typeBits(type: string, { operandSize, vectorLength }: Sizes): number {
  const fixed = FIXED[type];
  if (fixed !== undefined) return fixed;
  switch (type) {
    case 'v':
      return operandSize;
    case 'y':
      return operandSize === 64 ? 64 : 32;
    case 'z':
      return operandSize === 16 ? 16 : 32;
    case 'p':
      return operandSize + 16;
    case 'x':
    case 'ps':
    case 'pd':
      return vectorLength;
    case 'xl':
      return Math.max(128, vectorLength >> 1);
    case 'xh':
      return vectorLength >> 1;
    case 'xq':
      return vectorLength >> 2;
    case 'xe':
      return vectorLength >> 3;
    default:
      return 0;
  }
}
