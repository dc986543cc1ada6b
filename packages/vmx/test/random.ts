/** Numbers that look random and are the same in every run (xorshift32). */
export function createRandom(seed: number): { word(): number; below(limit: number): number } {
  let state = seed | 1;
  const word = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
  return { word, below: (limit) => (word() >>> 0) % limit };
}
