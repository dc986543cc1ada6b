import { expect, test } from 'vitest';
import { ContainerWriter } from '../src/container.js';
import { createMemorySink, MigrationError } from '../src/index.js';
import { sayTo } from '../src/link.js';
import { type Ending, move } from './moving.js';

const RUNNERS = ['neither', 'source', 'target', 'both'];
const runner = ({ source, target }: Ending): string => RUNNERS[Number(source.running) + 2 * Number(target.running)]!;
const told = ({ sourceError, targetError }: Ending): string => `${String(sourceError)} / ${String(targetError)}`;

/** The first bytes of a stream, some in the middle, and all of its end, where the hand-over is. */
function* places(length: number, end = 400): Generator<number> {
  const step = Math.max(1, length >> 6);
  for (let at = 0; at < length - end; at += step) yield at;
  for (let at = Math.max(0, length - end); at <= length + 2; at++) yield at;
}

/** Bytes of a message that is one word. */
async function lengthOf(say: 'go' | 'ready' | 'running' | 'done'): Promise<number> {
  const sink = createMemorySink();
  await sayTo(new ContainerWriter(sink), { say });
  return sink.bytes().length;
}

/** A line that breaks in `go`: the source has given the machine away, the target has not got it. */
async function lostGo(): Promise<{ readonly forth: { readonly endAfter: number } }> {
  const whole = await move({ again: [] });
  return { forth: { endAfter: whole.sent[0] - (await lengthOf('done')) - 1 } };
}

/** A line that breaks in `running`: the target runs the machine, the source has not heard of it. */
async function lostRunning(): Promise<{ readonly back: { readonly endAfter: number } }> {
  const whole = await move({ again: [] });
  return { back: { endAfter: whole.sent[1] - 1 } };
}

/** A line that breaks in `ready`: the target waits, the source has kept the machine. */
async function lostReady(): Promise<{ readonly back: { readonly endAfter: number } }> {
  const whole = await move({ again: [] });
  return { back: { endAfter: whole.sent[1] - (await lengthOf('running')) - 1 } };
}

test('wherever the line is cut, exactly one side runs when the source can come back', async () => {
  const whole = await move({ again: [] });
  const counts: Record<string, number> = {};
  for (const way of ['forth', 'back'] as const) {
    for (const at of places(whole.sent[way === 'forth' ? 0 : 1])) {
      const ending = await move({ [way]: { endAfter: at }, again: [] });
      const who = runner(ending);
      expect(who, `${way} ${at}: ${told(ending)}`).toMatch(/^(source|target)$/);
      if (who === 'target') expect([ending.sourceError, ending.target.toy.fingerprint()]).toEqual([undefined, ending.source.toy.fingerprint()]);
      else expect(ending.targetError, `${way} ${at}`).toBeInstanceOf(MigrationError);
      counts[`${who}, came back ${ending.visits} times`] = (counts[`${who}, came back ${ending.visits} times`] ?? 0) + 1;
    }
  }
  console.log('cut lines, with a way back:', counts);
  expect(counts['target, came back 1 times']).toBeGreaterThan(50);
  expect(counts['source, came back 1 times']).toBeGreaterThan(50);
});

test('whichever byte is damaged, exactly one side runs when the source can come back', async () => {
  const whole = await move({ again: [] });
  for (const way of ['forth', 'back'] as const) {
    for (const at of places(whole.sent[way === 'forth' ? 0 : 1] - 3)) {
      const ending = await move({ [way]: { corrupt: at }, again: [] });
      expect(runner(ending), `${way} ${at}: ${told(ending)}`).toMatch(/^(source|target)$/);
    }
  }
});

test('lines that break again and again only put it off', async () => {
  for (const first of [await lostGo(), await lostRunning(), await lostReady()]) {
    for (const way of [0, 1] as const) {
      for (let at = 0; at < 400; at += 7) {
        const faults = [{}, {}];
        faults[way] = { endAfter: at };
        const ending = await move({ ...first, again: [faults as [object, object], [{ endAfter: 20 }, {}], [{}, { corrupt: 40 }]] });
        expect(runner(ending), `${JSON.stringify(first)} ${way} ${at}: ${told(ending)}`).toMatch(/^(source|target)$/);
      }
    }
  }
});

test('a line that is closed to everything leaves a machine that a person gives to one side, and the other hears of it', async () => {
  const dead: [object, object][] = Array.from({ length: 30 }, () => [{ endAfter: 0 }, {}]);
  const here = await move({ ...(await lostGo()), again: dead, decide: { at: 'source', when: 'target' } });
  expect([runner(here), here.conflict, new Set(here.waited)], told(here)).toEqual(['source', false, new Set(['source', 'target'])]);
  expect(here.targetError).toMatchObject({ code: 'cancelled' });
  const there = await move({ ...(await lostGo()), again: dead, decide: { at: 'target', when: 'target' } });
  expect([runner(there), there.how, there.sourceError], told(there)).toEqual(['target', 'decided', undefined]);
});

test('who decides for the source although the target runs: the source stops again', async () => {
  const dead: [object, object][] = Array.from({ length: 3 }, () => [{ endAfter: 0 }, {}]);
  const ending = await move({ ...(await lostRunning()), again: dead, decide: { at: 'source', when: 'source' } });
  expect([runner(ending), ending.conflict], told(ending)).toEqual(['target', true]);
});
