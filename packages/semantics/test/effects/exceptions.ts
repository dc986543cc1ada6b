/** A complaint of the effects suite that is right, but no mistake. */
export interface Exception {
  readonly mnemonic: RegExp;
  readonly complaint: RegExp;
  readonly reason: string;
}

/** Writes that do come before a possible fault. */
export const excusedWrites: readonly Exception[] = [
  {
    mnemonic: /^PUSHA$/,
    complaint: /^guest\.write before guest\.(write|segment)$/,
    reason: 'the lowest byte is probed first, and the slots lie on two pages at most: the first store checks the other',
  },
  {
    mnemonic: /^ENTER$/,
    complaint: /^guest\.write before guest\.(write|read|segment)$/,
    reason: 'the frame is written below RSP, which moves last (SDM Vol. 2, "ENTER"): starting again writes the same',
  },
  {
    mnemonic: /^VP?GATHER/,
    complaint: /^state\[\d+\] before guest\.(read|segment)$/,
    reason: 'each element is a restartable step that its mask remembers (SDM Vol. 2, "VGATHERDPS")',
  },
];

/** Operands that are not used as declared. */
export const excusedOperands: readonly Exception[] = [
  {
    mnemonic: /^(CVT(PI2PS|S[DIS]2S[SD])|MOVHLPS|MOVLP[SD]|MOVS[SD]|R(CP|SQRT)SS|ROUNDS[SD]|SQRTS[SD])$/,
    complaint: /^operand 1 \([VW](ss|sd|q):w\) is read$/,
    reason: 'the part of the register that a scalar result leaves alone is read and written back',
  },
  {
    mnemonic: /^BS[FR]$/,
    complaint: /^operand 1 \(Gv:rw\) is not read$/,
    reason: 'the destination of a zero source stays by not being written',
  },
  {
    mnemonic: /^VP?GATHER/,
    complaint: /^operand 1 \(V(x|dq):rw\) is not read$/,
    reason: 'elements whose mask is clear stay by not being written',
  },
  { mnemonic: /^BSWAP$/, complaint: /^operand 1 \(Zv:rw\) is not read$/, reason: 'of 16 bits it is undefined (SDM Vol. 2, "BSWAP"): 0' },
  {
    mnemonic: /^RDSSP$/,
    complaint: /^operand 1 \(Ry:rw\) is not (read|written)$/,
    reason: 'without shadow stacks it does nothing (SDM Vol. 2, "RDSSPD")',
  },
];

/** Flags that are not as documented. */
export const excusedFlags: readonly Exception[] = [
  {
    mnemonic: /^FU?COMIP?$/,
    complaint: /^does not clear 0x[0-9]+$/,
    reason: 'an unmasked invalid operation leaves all flags alone (SDM Vol. 2, "FCOMI")',
  },
];
