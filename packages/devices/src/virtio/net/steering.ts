/** Frames of a connection go to the pair of queues that the guest last sent on for it ("VIRTIO", Automatic receive steering in multiqueue mode). */
export class Steering {
  readonly #pairs = new Uint8Array(256);

  reset(): void {
    this.#pairs.fill(0);
  }

  learn(frame: Uint8Array, pair: number): void {
    this.#pairs[hashOf(frame)] = pair;
  }

  pairOf(frame: Uint8Array): number {
    return this.#pairs[hashOf(frame)]!;
  }
}

/** The same for both directions of a connection over IPv4; 0 for everything else. */
function hashOf(frame: Uint8Array): number {
  if (frame.length < 38 || frame[12] !== 8 || frame[13] !== 0) return 0;
  let hash = 0;
  for (let at = 26; at < 34; at++) hash ^= frame[at]!;
  const ports = 14 + (frame[14]! & 15) * 4;
  const protocol = frame[23]!;
  if (protocol === 6 || protocol === 17) for (let at = ports; at < ports + 4; at++) hash ^= frame[at] ?? 0;
  return hash;
}
