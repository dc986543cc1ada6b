/** What the size of an operand depends on, beside its type. */
export interface OperandSizes {
  /** Effective operand size in bits. */
  readonly operandSize: 16 | 32 | 64;
  /** Vector length in bits; 0 without one. */
  readonly vectorLength: number;
}

const FIXED: Readonly<Record<string, number>> = {
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

/** Bits of a type of the opcode maps (SDM Vol. 2, "Codes for Operand Type"); 0 when the type alone and these sizes do not say it. */
export function typeBits(type: string, { operandSize, vectorLength }: OperandSizes): number {
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
