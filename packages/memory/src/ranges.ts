/** A contiguous run of guest-physical memory. */
export interface MemoryRange {
  readonly kind: 'ram' | 'rom';
  /** First guest-physical address, size in bytes; whole pages. */
  readonly base: number;
  readonly size: number;
  readonly arenaOffset: number;
}

/** Cuts `[base, base + size)` out of `ranges`: what is left, and the pieces that were cut out. */
export function carve(ranges: readonly MemoryRange[], base: number, size: number): { kept: MemoryRange[]; cut: MemoryRange[] } {
  const kept: MemoryRange[] = [];
  const cut: MemoryRange[] = [];
  const piece = (range: MemoryRange, from: number, to: number): MemoryRange => ({
    kind: range.kind,
    base: from,
    size: to - from,
    arenaOffset: range.arenaOffset + (from - range.base),
  });
  for (const range of ranges) {
    const from = Math.max(range.base, base);
    const to = Math.min(range.base + range.size, base + size);
    if (from >= to) {
      kept.push(range);
      continue;
    }
    cut.push(piece(range, from, to));
    if (range.base < from) kept.push(piece(range, range.base, from));
    if (to < range.base + range.size) kept.push(piece(range, to, range.base + range.size));
  }
  return { kept, cut };
}
