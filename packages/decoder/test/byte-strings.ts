/** The spaces that the sweep covers. */
export type Space = 'legacy' | 'vex' | 'evex';

/** Distance between byte strings in a buffer. */
export const STRIDE = 32;
/** What follows opcode and ModRM: SIB, displacement, immediates. */
const TAIL = [0x5b, 0x11, 0x82, 0x33, 0x44, 0xd5, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd];

function legacyHeads(bits: number): number[][] {
  const prefixes = [[], [0x66], [0xf3], [0xf2], [0x67], [0xf0], [0x66, 0xf3], [0x66, 0xf2], [0x2e], [0x64], [0xf2, 0xf3]];
  const rexes = bits === 64 ? [[], [0x40], [0x48], [0x41], [0x44], [0x42], [0x4f]] : [[]];
  const escapes = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
  return prefixes.flatMap((prefix) => rexes.flatMap((rex) => escapes.map((escape) => [...prefix, ...rex, ...escape])));
}

/** Both VEX forms, maps 0 to 4 and 7, each W, L and pp, with vvvv used and unused, and each register extension. */
function vexHeads(bits: number): number[][] {
  const heads: number[][] = [];
  const extensions = bits === 64 ? [0xe0, 0x60, 0xa0, 0xc0, 0] : [0xe0, 0xc0];
  for (const pp of [0, 1, 2, 3])
    for (const l of [0, 4])
      for (const vvvv of [0x78, 0x48, 0x38, 0x00]) {
        const low = vvvv | l | pp;
        for (const r of [0x80, 0]) heads.push([0xc5, r | low]);
        for (const w of [0, 0x80]) for (const map of [0, 1, 2, 3, 4, 7]) for (const rxb of extensions) heads.push([0xc4, rxb | map, w | low]);
      }
  return heads;
}

/** EVEX: every map, W and pp with each L'L, b, z, aaa and register extension that changes the verdict. */
function evexHeads(bits: number): number[][] {
  const heads: number[][] = [];
  const thirds = [0x08, 0x28, 0x48, 0x68, 0x18, 0x38, 0x58, 0x78, 0x09, 0x49, 0x89, 0xc9, 0x88, 0x1a, 0x9b, 0xcf, 0x2c, 0xad];
  const extensions = bits === 64 ? [0x70, 0xb0, 0xd0, 0xe0, 0x00] : [0xf0, 0xd0, 0xe0, 0xc0];
  for (let map = 0; map < 8; map++)
    for (const pp of [0, 1, 2, 3])
      for (const w of [0, 0x80]) {
        for (const third of thirds) heads.push([0x62, 0xf0 | map, w | 0x7c | pp, third]);
        for (const third of [0x08, 0x49, 0x00]) for (const rxb of extensions) heads.push([0x62, rxb | map, w | 0x3c | pp, third]);
      }
  heads.push([0x62, 0xf1, 0x78, 0x08], [0x62, 0xf9, 0x7c, 0x08]);
  return heads;
}

const HEADS = { legacy: legacyHeads, vex: vexHeads, evex: evexHeads };

/** Every `every`-th opcode × ModRM after each head of a space, another residue for each head: buffers of strings `STRIDE` bytes apart. */
export function* sweepBytes(bits: number, space: Space, every = 1): Generator<Uint8Array> {
  const buffer = new Uint8Array(STRIDE * 256 * 256);
  let residue = 0;
  for (const head of HEADS[space](bits)) {
    let at = 0;
    residue = (residue + 1) % every;
    for (let i = 0; i < 65536; i++) {
      // The SIB form of every opcode is always there: gathers have no other.
      if (i % every !== residue && (i & 0xff) !== 4) continue;
      buffer.set(head, at);
      buffer[at + head.length] = i >> 8;
      buffer[at + head.length + 1] = i & 0xff;
      buffer.set(TAIL, at + head.length + 2);
      at += STRIDE;
    }
    yield buffer.subarray(0, at);
  }
}

/** Prefixes and escapes that lead into the deep maps. */
const LEADS = [0x0f, 0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48, 0x41, 0x44, 0x4f, 0x62, 0xc4, 0xc5, 0x38, 0x3a];
const BATCH = 65536;

/** `count` random strings from a 32-bit xorshift: half of them pure, half behind up to four prefixes and escapes. */
export function* randomBytes(count: number, seed: number): Generator<Uint8Array> {
  let state = seed | 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const buffer = new Uint8Array(STRIDE * BATCH);
  const words = new Uint32Array(buffer.buffer);
  for (let done = 0; done < count; done += BATCH) {
    for (let i = 0; i < words.length; i++) words[i] = next();
    for (let at = STRIDE; at < buffer.length; at += 2 * STRIDE) {
      const leads = next() % 5;
      for (let i = 0; i < leads; i++) buffer[at + i] = LEADS[next() % LEADS.length] as number;
    }
    yield buffer.subarray(0, STRIDE * Math.min(BATCH, count - done));
  }
}
