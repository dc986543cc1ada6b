import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createMemorySource, loadSnapshot } from '../src/index.js';
import { createGolden, goldens } from './golden.js';

it.each(goldens)('$file still loads, and its guest goes on to its end', { timeout: 300_000 }, async (golden) => {
  const bytes = readFileSync(new URL(`golden/${golden.file}.snapshot`, import.meta.url));
  const output = { text: '' };
  const machine = createGolden(golden, output);
  // CPU models gain features; this is about the schemas of the units.
  await loadSnapshot({ ...machine.migratable, mismatches: () => [] }, () => createMemorySource(bytes));
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(output.text).toBe(golden.rest);
});
