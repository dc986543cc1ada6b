import { expect, test } from 'vitest';
import { L2ActiveError, MigrationError, migrateOut } from '../src/index.js';
import { type Ending, move, Running } from './moving.js';
import { createLine } from './pipe.js';
import { context, ToyMachine, usedMachine } from './toy-machine.js';

test('a machine that writes all the time arrives whole, and only runs there', async () => {
  const { source, target, sourceError, targetError } = await move();
  expect([sourceError, targetError]).toEqual([undefined, undefined]);
  expect([source.running, target.running]).toEqual([false, true]);
  expect(source.steps).toBeGreaterThan(0);
  expect(target.toy.fingerprint()).toBe(source.toy.fingerprint());
});

test('wherever the line is cut, at most one side runs, and before the hand-over it is the source', async () => {
  const whole = await move();
  let [completed, kept, uncertain] = [0, 0, 0];
  const check = ({ source, target, sourceError }: Ending): void => {
    expect(source.running && target.running).toBe(false);
    if (target.running) completed++;
    else if (source.running) {
      kept++;
      expect(sourceError).toBeInstanceOf(MigrationError);
    } else {
      uncertain++;
      expect(sourceError?.message).toMatch(/handed over.*stays stopped.*cont/);
    }
  };
  for (let cut = 0; cut < whole.sent[0] + 8; cut += Math.max(1, whole.sent[0] >> 9)) check(await move({ forth: { endAfter: cut } }));
  for (let cut = whole.sent[0] - 200; cut < whole.sent[0] + 2; cut++) check(await move({ forth: { endAfter: cut } }));
  for (let cut = 0; cut < whole.sent[1] + 2; cut++) check(await move({ back: { endAfter: cut } }));
  console.log(`cut lines: ${kept} kept by the source, ${completed} completed, ${uncertain} left stopped for a person to decide`);
  expect(kept).toBeGreaterThan(400);
});

test('an L2 refuses before a byte is sent, and one that starts on the way stops the migration', async () => {
  const source = new Running(usedMachine(), true);
  source.toy.contexts = [context()];
  const line = createLine();
  const clock = { nowMs: () => 0, sleep: () => Promise.resolve() };
  await expect(migrateOut(source.live, line.ends[0], { clock })).rejects.toBeInstanceOf(L2ActiveError);
  expect([line.sent()[0], source.running]).toEqual([0, true]);
  const late = await move({ onPass: (machine, pass) => void (machine.toy.contexts = pass >= 1 ? [context()] : []) });
  expect(late.sourceError).toBeInstanceOf(L2ActiveError);
  expect([late.source.running, late.target.running]).toEqual([true, false]);
  expect(late.targetError).toBeInstanceOf(MigrationError);
});

test('a target of another kind refuses with the reason, and the source goes on', async () => {
  const { source, target, sourceError } = await move({ target: new ToyMachine('other') });
  expect(sourceError?.message).toMatch(/target refuses.*its CPU is toy/s);
  expect([source.running, target.running]).toEqual([true, false]);
});

test('a cancelled migration leaves the machine here', async () => {
  const stop = new AbortController();
  const { source, target, sourceError } = await move({ signal: stop.signal, onPass: () => stop.abort() });
  expect((sourceError as MigrationError).code).toBe('cancelled');
  expect([source.running, target.running]).toEqual([true, false]);
});

test('a migration over a line on which nothing moves is cancelled without waiting for it', async () => {
  for (const words of [0, 1, 2]) {
    const source = new Running(usedMachine(), true);
    const stop = new AbortController();
    const { ends } = createLine();
    let left = words;
    const stuck = {
      write: (bytes: Uint8Array): Promise<void> => {
        if (left-- > 0) return ends[0].sink.write(bytes);
        stop.abort();
        return new Promise(() => {});
      },
    };
    const clock = { nowMs: () => 0, sleep: () => Promise.resolve() };
    await expect(migrateOut(source.live, { ...ends[0], sink: stuck }, { clock, signal: stop.signal })).rejects.toMatchObject({ code: 'cancelled' });
    expect(source.running).toBe(true);
  }
});

test('a guest that dirties faster than the line takes is slowed down', async () => {
  const shares: number[] = [];
  await move({ bandwidth: 1e6, throttle: (share) => void shares.push(share) });
  expect(Math.max(...shares)).toBeGreaterThan(0);
});

const RUNNERS = ['neither', 'source', 'target', 'both'];
const runner = ({ source, target }: Ending): string => RUNNERS[Number(source.running) + 2 * Number(target.running)]!;

/** The places of a stream: all of the first and last few hundred, some of those between. */
function* places(length: number): Generator<number> {
  for (let at = 0; at <= length; at += at < 100 || at > length - 300 ? 1 : Math.max(1, Math.min(length >> 8, length - 300 - at))) yield at;
}

test('whichever byte is damaged, exactly one side runs', async () => {
  const whole = await move();
  const counts: Record<string, number> = {};
  for (const way of ['forth', 'back'] as const) {
    for (const at of places(whole.sent[way === 'forth' ? 0 : 1] - 1)) {
      const ending = await move({ [way]: { corrupt: at } });
      const who = runner(ending);
      expect(who, `byte ${at} ${way}: ${String(ending.sourceError)} / ${String(ending.targetError)}`).toMatch(/source|target/);
      counts[who] = (counts[who] ?? 0) + 1;
    }
  }
  console.log('damaged bytes:', counts);
  expect(counts['source']).toBeGreaterThan(300);
});

test('whenever the target is killed, the source goes on, or the target had begun to run the machine', async () => {
  const whole = await move();
  let confirmed = 0;
  for (const way of ['forth', 'back'] as const) {
    for (const after of places(whole.sent[way === 'forth' ? 0 : 1])) {
      const ending = await move({ death: { of: 'target', way, after } });
      if (ending.sourceError === undefined) {
        confirmed++;
        expect(ending.source.running).toBe(false);
      } else expect(runner(ending), `${way} ${after}: ${String(ending.sourceError)}`).toBe('source');
    }
  }
  // Only in the last word, behind `running`.
  expect(confirmed).toBeLessThan(60);
});

test('whenever the source is killed, the target goes on if it has all of the machine, and says so if not', async () => {
  const whole = await move();
  const counts = { target: 0, neither: 0 };
  let complete = false;
  for (const way of ['forth', 'back'] as const) {
    complete = false;
    for (const after of places(whole.sent[way === 'forth' ? 0 : 1])) {
      const ending = await move({ death: { of: 'source', way, after } });
      const who = runner(ending) as keyof typeof counts;
      counts[who]++;
      // There is one moment from which on the machine is safe.
      if (who === 'target') complete = true;
      else expect([complete, ending.targetError?.message], `${way} ${after}`).toEqual([false, expect.stringMatching(/source has gone.*not started/)]);
      if (who === 'target' && ending.how === 'inherited') expect(ending.target.toy.fingerprint()).toBe(ending.source.toy.fingerprint());
    }
    expect(complete).toBe(true);
  }
  console.log('killed sources:', counts);
});
