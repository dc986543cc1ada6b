const UNALIGNED = new Set(['MOVUPS', 'MOVUPD', 'MOVDQU', 'LDDQU', 'PCMPESTRI', 'PCMPESTRM', 'PCMPISTRI', 'PCMPISTRM']);
const ALIGNED = new Set(['VMOVAPS', 'VMOVAPD', 'VMOVDQA', 'VMOVNTPS', 'VMOVNTPD', 'VMOVNTDQ', 'VMOVNTDQA']);

/** Legacy SSE instructions whose 16-byte memory operand need not be aligned (SDM Vol. 1, "Memory Alignment"). */
export const isUnalignedLegacy = (mnemonic: string): boolean => UNALIGNED.has(mnemonic);

/** VEX-encoded instructions whose memory operand must be aligned to the vector length (SDM Vol. 1, "Explicitly Aligned SIMD Instructions"). */
export const isAlignedMove = (mnemonic: string): boolean => ALIGNED.has(mnemonic);
