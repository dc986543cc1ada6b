/** Edit distance with transpositions, for "did you mean". */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(row[j - 1]! + 1, rows[i - 1]![j]! + 1, rows[i - 1]![j - 1]! + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

/** The candidate closest to `name`, letter case aside; undefined when nothing is close. A candidate that starts with `name` beats a mere typo. */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  const wanted = name.toLowerCase();
  let best: string | undefined;
  let bestScore = Math.max(2, Math.floor(wanted.length * 0.6));
  for (const candidate of candidates) {
    const given = candidate.toLowerCase();
    const prefix = wanted.length >= 3 && given.startsWith(wanted);
    const score = prefix ? 0.5 : distance(wanted, given);
    if (score < bestScore) [best, bestScore] = [candidate, score];
  }
  return best;
}
