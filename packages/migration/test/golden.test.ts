import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { createMemorySource, loadSnapshot } from '../src/index.js';
import { createGolden, goldens, holdBlocks, migratableGolden } from './golden.js';

it.each(goldens)('$file still loads, and its guest goes on to its end', { timeout: 300_000 }, async (golden) => {
  const bytes = readFileSync(new URL(`golden/${golden.file}.snapshot`, import.meta.url));
  const output = { text: '' };
  const machine = createGolden(golden, output);
  const { machine: target, held } = migratableGolden(golden, machine);
  if (golden.blocks) holdBlocks(held, { 0: 1, 2: 3 });
  await loadSnapshot(target, () => createMemorySource(bytes));
  expect(held.indices().map((index) => [String(index), held.get(index)!.every((byte) => byte === golden.blocks?.[index])])).toEqual(
    Object.keys(golden.blocks ?? {}).map((index) => [index, true]),
  );
  expect(await machine.run()).toEqual({ kind: 'exit', status: 1 });
  expect(output.text).toBe(golden.rest);
});
