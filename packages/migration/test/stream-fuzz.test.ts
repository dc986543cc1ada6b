import { expect, test } from 'vitest';
import { createMemorySink, createMemorySource, L2ActiveError, type Link, MigrationError, migrateIn, migrateOut } from '../src/index.js';
import { Running } from './moving.js';
import { reseal, split } from './reseal.js';
import { context, DiskToy, usedMachine } from './toy-machine.js';

/** Mutated streams; the nightly run makes more. */
const MUTATIONS = Number(process.env['NESTVM_MIGRATION_FUZZ'] ?? 10_000);

/** What a source sends up to its `go`, and nothing afterwards. */
async function recordedStream(compression: 'deflate' | 'none' = 'deflate'): Promise<Uint8Array> {
  const sink = createMemorySink();
  const answers = createMemorySink();
  // The target's half of the talk, from a target that takes all.
  const source = new Running(usedMachine(new DiskToy()).hold({ 1: 1, 2: 2, 7: 7, 30: 8 }), true);
  const target = new DiskToy();
  const told: { wake: () => void } = { wake: () => {} };
  let read = 0;
  const back = async (length: number): Promise<Uint8Array> => {
    while (answers.bytes().length === read) await new Promise<void>((resolve) => (told.wake = resolve));
    const piece = answers.bytes().subarray(read, read + length);
    read += piece.length;
    return piece;
  };
  let [sent, more]: [number, () => void] = [0, () => {}];
  const forth = async (length: number): Promise<Uint8Array> => {
    while (sink.bytes().length === sent) await new Promise<void>((resolve) => (more = resolve));
    const piece = sink.bytes().subarray(sent, sent + length);
    sent += piece.length;
    return piece;
  };
  const here: Link = { sink: { write: (bytes) => sink.write(bytes).then(() => more()) }, source: { read: back }, close: () => {} };
  const there: Link = { sink: { write: (bytes) => answers.write(bytes).then(() => told.wake()) }, source: { read: forth }, close: () => {} };
  const clock = { nowMs: () => 0, sleep: () => Promise.resolve() };
  await Promise.all([
    migrateOut(source.live, here, { clock, compression, maxPasses: 2 }),
    migrateIn(target, there).then((arrival) => arrival.confirm()),
  ]);
  expect(target.fingerprint()).toBe(source.toy.fingerprint());
  return sink.bytes();
}

/** A line that gives these bytes; with `into` in pieces of any size, to where they are wanted. */
function lineOf(bytes: Uint8Array, into = false): Link {
  const source = createMemorySource(bytes);
  let turn = 0;
  const readInto = (target: Uint8Array): Promise<number> | number => {
    const given = source.read(Math.min(target.length, 1 + ((++turn * 997) % 6000)));
    return given.then((piece) => {
      target.set(piece);
      return piece.length;
    });
  };
  return { sink: { write: () => Promise.resolve() }, source: into ? { ...source, readInto } : source, close: () => {} };
}

/** How a target takes a stream: the code of its refusal, or `runs`. */
async function outcomeOf(bytes: Uint8Array, into = false): Promise<string> {
  try {
    await migrateIn(new DiskToy(), lineOf(bytes, into));
    return 'runs';
  } catch (error) {
    if (!(error instanceof MigrationError)) throw error;
    return error.code;
  }
}

function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

test(`truncated and ${MUTATIONS} mutated streams end in a typed error, and a machine never runs by them`, { timeout: 3_600_000 }, async () => {
  const streams = [await recordedStream(), await recordedStream('none')] as const;
  for (const whole of streams) expect([await outcomeOf(whole), await outcomeOf(whole, true)]).toEqual(['runs', 'runs']);
  const codes = new Map<string, number>();
  const count = (code: string): void => void codes.set(code, (codes.get(code) ?? 0) + 1);
  const random = generator(11);
  for (const whole of streams) {
    for (let length = 0; length < whole.length - 200; length += Math.max(1, whole.length >> 9)) {
      const code = await outcomeOf(whole.subarray(0, length), length % 2 === 0);
      expect(code, `${length} bytes`).not.toBe('runs');
      count(code);
    }
  }
  let late = 0;
  for (let i = 0; i < MUTATIONS; i++) {
    const whole = streams[i & 1]!;
    const damaged = whole.slice();
    let first = damaged.length;
    for (let n = random(3); n >= 0; n--) {
      const at = random(damaged.length);
      first = Math.min(first, at);
      damaged[at]! ^= 1 + random(255);
    }
    const code = await outcomeOf(damaged, (i & 2) !== 0);
    // What comes behind `go` is not waited for.
    if (code === 'runs') {
      late++;
      expect(first).toBeGreaterThan(whole.length - 60);
    }
    count(code);
  }
  console.log(`stream mutations: ${MUTATIONS} (${late} behind the hand-over), ${[...codes].map(([code, n]) => `${code} ${n}`).join(', ')}`);
});

test('mutated streams with right checksums end in a typed error, or in a machine that is whole', { timeout: 3_600_000 }, async () => {
  const whole = await recordedStream();
  const codes = new Map<string, number>();
  const random = generator(5);
  // The machine ends with its section END; what follows are the words of the hand-over.
  const words = split(whole).slice(-2);
  const end = whole.length - words.reduce((sum, { payload }) => sum + 16 + payload.length, 0);
  for (let i = 0; i < MUTATIONS / 10; i++) {
    const code = await outcomeOf(Uint8Array.of(...reseal(whole.subarray(0, end), random), ...whole.subarray(end)));
    codes.set(code, (codes.get(code) ?? 0) + 1);
  }
  expect(codes.size).toBeGreaterThan(3);
  console.log(`resealed streams: ${MUTATIONS / 10}, ${[...codes].map(([code, n]) => `${code} ${n}`).join(', ')}`);
});

test('a stream whose machine has an L2 is refused by the target too', async () => {
  const target = new DiskToy();
  target.nested.inspect = () => (target.counter > 0 ? [context()] : []);
  await expect(migrateIn(target, lineOf(await recordedStream()))).rejects.toBeInstanceOf(L2ActiveError);
});
