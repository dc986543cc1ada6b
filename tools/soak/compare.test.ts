import { describe, expect, it } from 'vitest';
import { type Checkpoint, compareWays, narrow, type Way } from './compare.js';

/** A run whose state is what it has passed, and, from `brokenNs` on, something else; `log` gets each instant that it was sent to. */
function way(name: string, { brokenNs = Infinity, endsNs = Infinity, delayMs = 0, log = [] as number[] } = {}): Way {
  return {
    name,
    start: () => ({
      advance: async (untilNs, withDigest): Promise<Checkpoint> => {
        log.push(untilNs);
        if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
        const state = untilNs >= brokenNs ? 'broken' : 'sound';
        return { ...(withDigest ? { digest: { state, at: String(untilNs) } } : {}), ...(untilNs >= endsNs ? { ended: `at ${endsNs}` } : {}) };
      },
      close: () => {},
    }),
  };
}

describe('runs that are the same', () => {
  it('go on until it is enough, and all of them to the same checkpoint', async () => {
    const [fast, slow] = [[] as number[], [] as number[]];
    const outcome = await compareWays([way('fast', { log: fast }), way('slow', { log: slow, delayMs: 2 })], {
      everyNs: 10,
      more: (done) => done < 7,
    });
    expect(outcome).toEqual({ reachedNs: 70, checkpoints: 7, digest: { state: 'sound', at: '70' } });
    expect([fast.at(-1), slow.at(-1)]).toEqual([70, 70]);
  });

  it('are at their end when the guest ends', async () => {
    const outcome = await compareWays([way('a', { endsNs: 35 }), way('b', { endsNs: 35, delayMs: 1 })], { everyNs: 10, more: () => true });
    expect(outcome).toMatchObject({ checkpoints: 4, ended: 'at 35' });
    expect(outcome.difference).toBeUndefined();
  });
});

describe('runs that differ', () => {
  it('are found out at the first checkpoint at which they do, and none goes on', async () => {
    const log: number[] = [];
    const outcome = await compareWays([way('a', { log, delayMs: 1 }), way('b'), way('c', { brokenNs: 33 })], { everyNs: 10, more: () => true });
    expect(outcome).toMatchObject({ reachedNs: 30, checkpoints: 3 });
    expect(outcome.difference).toMatchObject({ sameNs: 30, atNs: 40, lines: ['state: a sound, c broken'] });
    expect(outcome.difference?.ways.map(({ name }) => name)).toEqual(['a', 'c']);
    expect(log.at(-1)).toBeLessThanOrEqual(80);
  });

  it('differ when one ends and the other goes on', async () => {
    const { difference } = await compareWays([way('a', { endsNs: 15 }), way('b')], { everyNs: 10, more: () => true });
    expect(difference?.lines).toEqual(['end: a at 15, b nothing']);
  });

  it('are narrowed down to the instant, past the same checkpoints each time', async () => {
    const log: number[] = [];
    const ways = [way('a', { log }), way('b', { brokenNs: 123_457 })];
    const { difference } = await compareWays(ways, { everyNs: 50_000, more: () => true });
    log.length = 0;
    const closer: number[] = [];
    const found = await narrow(difference!, 50_000, 1, { more: () => true, onCloser: ({ atNs, sameNs }) => closer.push(atNs - sameNs) });
    expect(found).toMatchObject({ sameNs: 123_456, atNs: 123_457 });
    expect(closer.at(-1)).toBe(1);
    expect(closer.length).toBeLessThan(6);
    // Each time from the start, by way of the checkpoints that were passed.
    expect(log.filter((at) => at === 50_000)).toHaveLength(closer.length);
    expect(log.every((at, i) => i === 0 || at > log[i - 1]! || at === 50_000)).toBe(true);
  });

  it('ends where they do not differ again', async () => {
    const difference = { ways: [way('a'), way('b')] as const, sameNs: 0, atNs: 100, lines: ['state'] };
    expect(await narrow(difference, 100, 1, { more: () => true })).toBe(difference);
  });
});

it('a run that fails is an error, not a difference', async () => {
  const failing: Way = { name: 'failing', start: () => ({ advance: () => Promise.reject(new Error('gone')), close: () => {} }) };
  await expect(compareWays([way('a', { delayMs: 1 }), failing], { everyNs: 10, more: (done) => done < 3 })).rejects.toThrow('gone');
});
