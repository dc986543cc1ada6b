import { describe, expect, it } from 'vitest';
import { effectiveType, MemoryType, mtrrType, patType } from './memory-type.js';

const { UC, WC, WT, WP, WB, UC_MINUS } = MemoryType;
const none = Array<bigint>(11).fill(0n);

describe('mtrrType', () => {
  it('is UC while the MTRRs are off, and the default type where no range matches', () => {
    expect(mtrrType({ defType: 6n, fixed: none, variable: [] }, 0n)).toBe(UC);
    expect(mtrrType({ defType: 0x806n, fixed: none, variable: [] }, 0x1000n)).toBe(WB);
  });

  it.each([
    [0x0n, 0, 0],
    [0x7_ffffn, 0, 7],
    [0x8_0000n, 1, 0],
    [0x9_ffffn, 1, 7],
    [0xa_0000n, 2, 0],
    [0xb_c000n, 2, 7],
    [0xc_0000n, 3, 0],
    [0xc_7fffn, 3, 7],
    [0xc_8000n, 4, 0],
    [0xf_ffffn, 10, 7],
  ])('reads fixed range of %s in register %i, byte %i', (address, register, byte) => {
    const fixed = [...none];
    fixed[register] = 6n << BigInt(byte * 8);
    expect(mtrrType({ defType: 0xc00n, fixed, variable: [] }, address)).toBe(WB);
    expect(mtrrType({ defType: 0x805n, fixed, variable: [] }, address)).toBe(WP);
    fixed[register] = ~fixed[register] & 0n;
    expect(mtrrType({ defType: 0xc06n, fixed, variable: [] }, address)).toBe(UC);
  });

  it('reads variable ranges, with the precedence of overlaps', () => {
    const gigabyte = 0xff_c000_0800n;
    const range = (base: bigint, type: number, mask = gigabyte): bigint[] => [base | BigInt(type), mask];
    const at = (variable: bigint[], address: bigint): number => mtrrType({ defType: 0x806n, fixed: none, variable }, address);
    expect(at(range(0xc000_0000n, UC), 0xc000_0000n)).toBe(UC);
    expect(at(range(0xc000_0000n, UC), 0xffff_ffffn)).toBe(UC);
    expect(at(range(0xc000_0000n, UC), 0xbfff_ffffn)).toBe(WB);
    expect(at(range(0xc000_0000n, UC), 0x1_c000_0000n)).toBe(WB);
    expect(at(range(0xc000_0000n, UC, gigabyte & ~0x800n), 0xc000_0000n)).toBe(WB);
    expect(at([...range(0n, WT), ...range(0n, WB)], 0n)).toBe(WT);
    expect(at([...range(0n, WB), ...range(0n, UC), ...range(0n, WT)], 0n)).toBe(UC);
    expect(at([...range(0n, WC), ...range(0n, WC)], 0n)).toBe(WC);
    expect(at([...range(0n, WC), ...range(0n, WB)], 0n)).toBe(UC);
  });
});

describe('patType', () => {
  it('selects by PAT, PCD and PWT', () => {
    const pat = 0x0007_0406_0501_0706n;
    expect([0, 0x8, 0x10, 0x18, 0x80, 0x98].map((leaf) => patType(pat, leaf, false))).toEqual([WB, UC_MINUS, WC, WP, WB, UC]);
    expect([0x80, 0x1080, 0x1088].map((leaf) => patType(pat, leaf, true))).toEqual([WB, WB, WT]);
  });
});

describe('effectiveType', () => {
  it('follows the rows of the table', () => {
    const columns = [UC, UC_MINUS, WC, WT, WB, WP];
    const row = (mtrr: number): number[] => columns.map((pat) => effectiveType(mtrr, pat));
    expect(row(UC)).toEqual([UC, UC, WC, UC, UC, UC]);
    expect(row(WC)).toEqual([UC, WC, WC, UC, WC, UC]);
    expect(row(WT)).toEqual([UC, UC, WC, WT, WT, WP]);
    expect(row(WB)).toEqual([UC, UC, WC, WT, WB, WP]);
  });

  it('never makes memory more cacheable than either says', () => {
    for (const pat of [UC, UC_MINUS, WC, WT, WB, WP]) expect([UC, WC]).toContain(effectiveType(UC, pat));
    for (const mtrr of [UC, WC, WT, WB, WP]) expect(effectiveType(mtrr, UC)).toBe(UC);
  });
});
