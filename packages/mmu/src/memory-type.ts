/** Memory types as MTRRs and PAT entries encode them (SDM Vol. 3, "Memory Cache Control"). */
export const MemoryType = { UC: 0, WC: 1, WT: 4, WP: 5, WB: 6, UC_MINUS: 7 } as const;

const { UC, WC, WT, WP, WB, UC_MINUS } = MemoryType;

/** The MTRR registers; `variable` holds base and mask in turn. */
export interface Mtrrs {
  readonly defType: bigint;
  readonly fixed: readonly bigint[];
  readonly variable: readonly bigint[];
}

/** First address and bytes per range of the eleven fixed-range registers, eight ranges each. */
const FIXED: readonly (readonly [bigint, bigint])[] = [
  [0x0n, 0x1_0000n],
  [0x8_0000n, 0x4000n],
  [0xa_0000n, 0x4000n],
  ...Array.from({ length: 8 }, (_, i) => [0xc_0000n + BigInt(i) * 0x8000n, 0x1000n] as const),
];

/** Effective type by MTRR type, then by PAT type. What the manual calls implementation-defined under WP is UC here. */
const EFFECTIVE: { readonly [mtrr: number]: { readonly [pat: number]: number } } = {
  [UC]: { [UC]: UC, [UC_MINUS]: UC, [WC]: WC, [WT]: UC, [WB]: UC, [WP]: UC },
  [WC]: { [UC]: UC, [UC_MINUS]: WC, [WC]: WC, [WT]: UC, [WB]: WC, [WP]: UC },
  [WT]: { [UC]: UC, [UC_MINUS]: UC, [WC]: WC, [WT]: WT, [WB]: WT, [WP]: WP },
  [WB]: { [UC]: UC, [UC_MINUS]: UC, [WC]: WC, [WT]: WT, [WB]: WB, [WP]: WP },
  [WP]: { [UC]: UC, [UC_MINUS]: UC, [WC]: WC, [WT]: UC, [WB]: WP, [WP]: WP },
};

/** Memory type that the MTRRs give to a physical address (SDM Vol. 3, "Memory Type Range Registers"); overlaps that the manual leaves undefined are UC. */
export function mtrrType(mtrrs: Mtrrs, address: bigint): number {
  const { defType } = mtrrs;
  if ((defType & 0x800n) === 0n) return UC;
  if ((defType & 0x400n) !== 0n && address < 0x10_0000n) return fixedType(mtrrs.fixed, address);
  const types = new Set<number>();
  for (let i = 0; i + 1 < mtrrs.variable.length; i += 2) {
    const base = mtrrs.variable[i]!;
    const mask = mtrrs.variable[i + 1]!;
    const span = mask & ~0xfffn;
    if ((mask & 0x800n) !== 0n && (address & span) === (base & span)) types.add(Number(base & 0xffn));
  }
  if (types.size === 0) return Number(defType & 0xffn);
  if (types.size === 1) return [...types][0]!;
  return types.size === 2 && types.has(WT) && types.has(WB) ? WT : UC;
}

/** Entry of the PAT that a leaf entry selects by its PAT, PCD and PWT flags; the PAT flag is bit 7 in a 4 KiB page's entry, bit 12 in a large page's. */
export function patType(pat: bigint, leaf: number, large: boolean): number {
  const index = ((leaf >>> 3) & 3) | (((leaf >>> (large ? 12 : 7)) & 1) << 2);
  return Number((pat >> BigInt(index * 8)) & 7n);
}

/** The type that results from an MTRR type and a PAT type while caching is on (SDM Vol. 3, "Selecting Memory Types"). */
export function effectiveType(mtrr: number, pat: number): number {
  return EFFECTIVE[mtrr]?.[pat] ?? UC;
}

function fixedType(fixed: readonly bigint[], address: bigint): number {
  const register = FIXED.findLastIndex(([start]) => address >= start);
  const [start, bytes] = FIXED[register]!;
  return Number((fixed[register]! >> (((address - start) / bytes) * 8n)) & 0xffn);
}
