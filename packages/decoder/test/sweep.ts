/** Byte strings of the opcode sweep, 32 bytes apart: every opcode of every map × ModRM × prefix set. */
export function* sweepBytes(bits: number, space: string): Generator<Uint8Array> {
  const none: number[][] = [[]];
  const legacyPrefixes = [[], [0x66], [0xf3], [0xf2], [0x67], [0xf0], [0x66, 0xf3], [0x66, 0xf2], [0x2e], [0x64], [0xf2, 0xf3]];
  const rexes = bits === 64 ? [[], [0x40], [0x48], [0x41], [0x44], [0x42], [0x4f]] : none;
  const escapes = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
  const tail = [0x5b, 0x11, 0x82, 0x33, 0x44, 0xd5, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd];
  if (space === 'vex') {
    yield* vexBytes(bits, tail);
    return;
  }
  if (space.startsWith('random')) {
    yield* randomBytes(Number(space.slice(6)), 1);
    return;
  }
  if (space === 'evex') {
    yield* evexBytes(bits, tail);
    return;
  }
  if (space !== 'legacy') return;
  for (const prefix of legacyPrefixes) for (const rex of rexes) {
    const buffer = new Uint8Array(32 * 256 * 256 * escapes.length);
    let at = 0;
    for (const escape of escapes) for (let op = 0; op < 256; op++) {
      if (escape.length === 0 && op === 0x0f) continue;
      for (let modrm = 0; modrm < 256; modrm++) {
        buffer.set([...prefix, ...rex, ...escape, op, modrm, ...tail], at);
        at += 32;
      }
    }
    yield buffer.subarray(0, at);
  }
}

/** VEX: both forms, maps 0 to 4, each W, vvvv, L and pp. */
function* vexBytes(bits: number, tail: number[]): Generator<Uint8Array> {
  const heads: number[][] = [];
  for (let pp = 0; pp < 4; pp++) for (const l of [0, 4]) for (const v of [0x78, 0x48, 0x38, 0x00]) {
    for (const r of [0x80, 0]) heads.push([0xc5, r | v | l | pp]);
    for (const w of [0, 0x80]) for (let map = 0; map < 5; map++) for (const rxb of bits === 64 ? [0xe0, 0x60, 0xa0, 0xc0, 0] : [0xe0, 0xc0]) heads.push([0xc4, rxb | map, w | v | l | pp]);
  }
  yield* overOpcodes(heads, tail);
}

/** EVEX: every map, W and pp with each L'L, b, z, aaa and register extension that changes the verdict. */
function* evexBytes(bits: number, tail: number[]): Generator<Uint8Array> {
  const heads: number[][] = [];
  const thirds = [0x08, 0x28, 0x48, 0x68, 0x18, 0x38, 0x58, 0x78, 0x09, 0x49, 0x89, 0xc9, 0x88, 0x1a, 0x9b, 0xcf, 0x2c, 0xad];
  for (let map = 0; map < 8; map++) for (let pp = 0; pp < 4; pp++) for (const w of [0, 0x80]) {
    for (const third of thirds) heads.push([0x62, 0xf0 | map, w | 0x7c | pp, third]);
    for (const third of [0x08, 0x49, 0x00]) for (const rxb of bits === 64 ? [0x70, 0xb0, 0xd0, 0xe0, 0x00] : [0xf0, 0xd0, 0xe0, 0xc0]) heads.push([0x62, rxb | map, w | 0x3c | pp, third]);
  }
  heads.push([0x62, 0xf1, 0x78, 0x08], [0x62, 0xf9, 0x7c, 0x08]);
  yield* overOpcodes(heads, tail);
}

/** Every opcode × ModRM after each head. */
function* overOpcodes(heads: number[][], tail: number[]): Generator<Uint8Array> {
  const buffer = new Uint8Array(32 * 256 * 256);
  for (const head of heads) {
    let at = 0;
    for (let op = 0; op < 256; op++) for (let modrm = 0; modrm < 256; modrm++) {
      buffer.set(head, at);
      buffer[at + head.length] = op;
      buffer[at + head.length + 1] = modrm;
      buffer.set(tail, at + head.length + 2);
      at += 32;
    }
    yield buffer;
  }
}

/** Random strings from a 32-bit xorshift: half of them pure, half behind a few random prefixes and escapes, so that the deep maps are met too. */
export function* randomBytes(count: number, seed: number): Generator<Uint8Array> {
  let state = seed | 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const heads = [0x0f, 0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48, 0x41, 0x44, 0x4f, 0x62, 0xc4, 0xc5, 0x38, 0x3a];
  const buffer = new Uint8Array(32 * 65536);
  const words = new Uint32Array(buffer.buffer);
  for (let done = 0; done < count; done += 65536) {
    for (let i = 0; i < words.length; i++) words[i] = next();
    for (let at = 32; at < buffer.length; at += 64) {
      const head = next() % 5;
      for (let i = 0; i < head; i++) buffer[at + i] = heads[next() % heads.length] as number;
    }
    yield done + 65536 <= count ? buffer : buffer.subarray(0, 32 * (count - done));
  }
}
