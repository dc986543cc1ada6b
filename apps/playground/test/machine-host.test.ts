import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { demos } from '../src/demos.js';
import { MachineHost } from '../src/machine-host.js';
import type { MachineOrder, Told } from '../src/protocol.js';

const orderOf = (id: string): MachineOrder => demos.find((demo) => demo.id === id)!.order();

/** A host, and what it told. */
function createHost() {
  const told: Told[] = [];
  const host = new MachineHost((message) => told.push(message));
  const has = async (run: number, text: string): Promise<void> => {
    const output = (): string =>
      told
        .map((message) => (message.run === run && message.reply.kind === 'output' ? Buffer.from(message.reply.bytes).toString('latin1') : ''))
        .join('');
    while (!output().includes(text)) await sleep(10);
  };
  const kinds = (run: number): Set<string> => new Set(told.filter((message) => message.run === run).map(({ reply }) => reply.kind));
  return { host, told, has, kinds };
}

it('of machines that are ordered one upon the other the last one runs, and each reply is of one machine', { timeout: 300_000 }, async () => {
  const { host, told, has, kinds } = createHost();
  const unreachable = { ...orderOf('count'), disk: 'http://127.0.0.1:1/nothing' };
  await Promise.all([
    host.handle({ kind: 'start', run: 1, order: orderOf('count') }),
    host.handle({ kind: 'start', run: 2, order: unreachable }),
    host.handle({ kind: 'start', run: 3, order: orderOf('count') }),
  ]);
  await has(3, '[L2] counts 1');
  expect(kinds(2)).toEqual(new Set(['failed']));
  const ended = told.length;
  await host.handle({ kind: 'pause' });
  expect(told.slice(ended).every(({ run }) => run === 3)).toBe(true);
  expect(told.at(-1)!.reply).toMatchObject({ kind: 'status', status: { phase: 'paused' } });
});

it('a pause or a save that is asked for while the machine is being made comes behind its start', { timeout: 300_000 }, async () => {
  const { host, told, kinds } = createHost();
  void host.handle({ kind: 'start', run: 1, order: orderOf('kernel') });
  void host.handle({ kind: 'pause' });
  await host.handle({ kind: 'save' });
  expect(kinds(1)).toContain('saved');
  expect(told.at(-1)!.reply.kind).toBe('saved');
});
