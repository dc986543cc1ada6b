/** Copies 64 bits between views. */
export function copyQuad(target: Int32Array, to: number, source: Int32Array, from: number): void {
  target[to] = source[from]!;
  target[to + 1] = source[from + 1]!;
}
