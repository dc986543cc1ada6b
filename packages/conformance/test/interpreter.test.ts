import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createInterpreterExecutor, testExecutor, type VectorFailure } from '../src/index.js';
import { type Deviation, deviations } from './deviations.js';

const root = new URL('../../../vectors/', import.meta.url);
const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const files = folders.flatMap((folder) =>
  readdirSync(new URL(`${folder.name}/`, root))
    .filter((name) => name.endsWith('.vec.gz'))
    .map((name) => `${folder.name}/${name}`),
);

/** Every case takes minutes; every seventeenth is the quick tier. */
const full = process.env.NESTVM_VECTORS === 'full';
const every = full ? 1 : 17;
const used = new Set<Deviation>();

function excuse(failure: VectorFailure): boolean {
  const found = deviations.find(({ form, difference }) => form.test(failure.form) && failure.differences.some((text) => difference.test(text)));
  if (found) used.add(found);
  return found !== undefined;
}

describe('the interpreter does what the CPU did', () => {
  const executor = createInterpreterExecutor();

  it.each(files)('%s', { timeout: full ? 1_200_000 : 180_000 }, async (name) => {
    const report = await testExecutor(executor, [readFileSync(new URL(name, root))], { every, keep: 1000 });
    expect(report.passed).toBeGreaterThan(0);
    const unexplained = report.failures.filter((failure) => !excuse(failure));
    const lines = unexplained.map(
      ({ form, index, code, differences }) => `${form} #${index} ${Buffer.from(code).toString('hex')}: ${differences.slice(0, 3).join('; ')}`,
    );
    expect(lines).toEqual([]);
  });

  it.runIf(full)('needs every deviation that is listed', () => {
    expect(deviations.filter((deviation) => !used.has(deviation)).map(({ reason }) => reason)).toEqual([]);
  });
});
