import { readFileSync } from 'node:fs';
import { createMemorySource, loadSnapshot } from '@nestvm/migration';
import { expect, it } from 'vitest';
import { createGolden, goldens, inUse, REST } from './golden/machines.js';

it.each(goldens)('$file, a machine full of devices, still loads, and its guest goes on to its end', { timeout: 300_000 }, async (golden) => {
  const bytes = readFileSync(new URL(`golden/${golden.file}.snapshot`, import.meta.url));
  let text = '';
  const machine = createGolden(golden, (more) => {
    text += more;
  });
  // CPU models gain features; this is about what devices save.
  const target = { ...machine.migratable, mismatches: () => [] };
  await loadSnapshot(target, () => createMemorySource(bytes));
  if (golden.board === 'microvm') {
    const devices = inUse(machine);
    expect(devices.map(({ name }) => name)).toEqual(['disk', 'net', 'rng', 'console', 'balloon', 'scsi', 'vsock', 'tablet', 'gpu']);
    for (const { name, status, queues } of devices) expect([name, status, new Set(queues)]).toEqual([name, 15, new Set([1])]);
  }
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(text).toBe(REST);
});
