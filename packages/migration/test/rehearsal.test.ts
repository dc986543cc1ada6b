import { expect, it } from 'vitest';
import { rehearse } from '../src/index.js';
import { Running } from './moving.js';
import { usedMachine } from './toy-machine.js';

const clock = { nowMs: () => performance.now(), sleep: () => Promise.resolve() };
const rest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it('moves a machine through a line of its own, and leaves it as it was', async () => {
  const toy = usedMachine();
  const before = { counter: toy.counter, text: toy.text, memory: toy.memory.slice() };
  let [sent, received] = [0, 0];
  await rehearse(new Running(toy, false).live, {
    clock,
    rest,
    dress: ({ sink, source, ...line }) => ({
      sink: { write: (bytes) => ((sent += bytes.length), sink.write(bytes)) },
      source: {
        read: async (length) => {
          const piece = await source.read(length);
          received += piece.length;
          return piece;
        },
      },
      close: () => line.close(),
    }),
  });
  expect(sent).toBeGreaterThan(16 << 20);
  // Nobody waits for the last word.
  expect(sent - received).toBeLessThan(100);
  expect({ counter: toy.counter, text: toy.text, memory: toy.memory }).toEqual(before);
  expect(toy.forgotten).toBe(1);
});

it('ends when it is told to, and when the machine can not be moved', async () => {
  const stop = new AbortController();
  let turns = 0;
  const counted = (): Promise<void> => {
    if (++turns === 3) stop.abort();
    return rest();
  };
  await rehearse(new Running(usedMachine(), false).live, { clock, rest: counted, signal: stop.signal });
  expect(turns).toBeLessThan(20);
  const active = usedMachine();
  active.contexts = [{ vcpu: 0, vendor: 'vmx', class: 'executing' } as unknown as (typeof active.contexts)[number]];
  await rehearse(new Running(active, false).live, { clock, rest });
  expect(active.forgotten).toBe(0);
});
