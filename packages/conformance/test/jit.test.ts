import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createInterpreterExecutor, testExecutor } from '../src/index.js';
import { deviations } from './deviations.js';

const root = new URL('../../../vectors/', import.meta.url);
const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
// Real mode is never compiled.
const files = folders.flatMap((folder) =>
  readdirSync(new URL(`${folder.name}/`, root))
    .filter((name) => /-(32|64)\.vec\.gz$/.test(name))
    .map((name) => `${folder.name}/${name}`),
);
const full = process.env.NESTVM_VECTORS === 'full';
/** A module for each case takes its time: one case of so many, NESTVM_JIT_VECTORS=1 for all of them. */
const every = Number(process.env.NESTVM_JIT_VECTORS ?? (full ? 2 : 25));

describe('compiled code does what the CPU did', () => {
  it.each(files)('%s', { timeout: every < 25 ? 3_600_000 : 300_000 }, async (name) => {
    const report = await testExecutor(createInterpreterExecutor({ jit: true }), [readFileSync(new URL(name, root))], { every, keep: 1000 });
    expect(report.passed).toBeGreaterThan(0);
    const unexplained = report.failures.filter(
      (failure) => !deviations.some(({ form, difference }) => form.test(failure.form) && failure.differences.every((text) => difference.test(text))),
    );
    const lines = unexplained.map(
      ({ form, index, code, differences }) => `${form} #${index} ${Buffer.from(code).toString('hex')}: ${differences.slice(0, 3).join('; ')}`,
    );
    expect(lines).toEqual([]);
  });
});
