import { describe, expect, it } from 'vitest';
import { eventNames, eventsImage } from '../src/index.js';
import { guestMachine, runOnQemu } from './run.js';

const TIMEOUT = 300_000;
const DIVISOR = 5000;

/** Results by test: the seconds are left out. */
const results = (lines: readonly string[]): string[] =>
  lines.filter((line) => line.startsWith('BENCH ')).map((line) => line.replace(/ \d+\.\d{6} /, ' '));

async function runEvents(jit: boolean | 'force', cpu = 'max'): Promise<readonly string[]> {
  const { machine, lines } = guestMachine(eventsImage({ divisor: DIVISOR }), {
    board: 'pc',
    cpu,
    jit,
    clock: { kind: 'virtual', shift: 0, sleep: false },
  });
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  return lines();
}

describe('the list of events', () => {
  it('comes to its end and sums up the same with and without the JIT, on both vendors', { timeout: TIMEOUT }, async () => {
    const interpreted = await runEvents(false);
    expect(results(interpreted).map((line) => line.split(' ')[1])).toEqual(eventNames);
    expect(interpreted.at(-1)).toBe('BENCH-END');
    // To the microsecond, too: a nanosecond is an instruction.
    expect(await runEvents('force')).toEqual(interpreted);
    expect(results(await runEvents('force', 'EPYC'))).toEqual(results(interpreted));
  });

  it('sums up the same on QEMU', { timeout: TIMEOUT }, async () => {
    const onQemu = runOnQemu(eventsImage({ divisor: DIVISOR }));
    if (onQemu === undefined) return;
    expect(results(onQemu)).toEqual(results(await runEvents(false)));
  });

  it('is as long as asked for', () => {
    expect(eventsImage({ tests: ['ud'] }).bytes.length).toBeLessThan(eventsImage().bytes.length);
  });
});
