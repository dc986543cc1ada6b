import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { createInterpreterExecutor, testExecutor, type VectorFailure } from '../src/index.js';
import { type Deviation, deviations } from './deviations.js';

const root = new URL('../../../vectors/', import.meta.url);
const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const files = folders.flatMap((folder) =>
  readdirSync(new URL(`${folder.name}/`, root))
    .filter((name) => name.endsWith('.vec.gz'))
    .map((name) => `${folder.name}/${name}`),
);

/** Every case takes minutes; every fifth is the quick tier. */
const full = process.env.NESTVM_VECTORS === 'full';
const every = full ? 1 : 5;
/** What a form must have at least. */
const CASES = 50;
const used = new Map<Deviation, number>();

function excuse(failure: VectorFailure): boolean {
  const found = deviations.find(({ form, difference }) => form.test(failure.form) && failure.differences.every((text) => difference.test(text)));
  if (found) used.set(found, (used.get(found) ?? 0) + 1);
  return found !== undefined;
}

describe('the interpreter does what the CPU did', () => {
  const totals = { cases: 0, forms: 0, excused: 0 };

  it.each(files)('%s', { timeout: full ? 1_200_000 : 900_000 }, async (name) => {
    // One executor for each file: the handlers of all of them together would take gigabytes.
    const report = await testExecutor(createInterpreterExecutor(), [readFileSync(new URL(name, root))], { every, keep: 1000 });
    expect(report.passed).toBeGreaterThan(0);
    const unexplained = report.failures.filter((failure) => !excuse(failure));
    const lines = unexplained.map(
      ({ form, index, code, differences }) => `${form} #${index} ${Buffer.from(code).toString('hex')}: ${differences.slice(0, 3).join('; ')}`,
    );
    totals.cases += report.passed;
    totals.forms += report.forms.length;
    totals.excused += report.failed;
    expect(lines).toEqual([]);
    const few = report.forms.filter(({ passed, failed }) => (passed + failed) * every < CASES).map(({ name: form }) => form);
    expect(few).toEqual([]);
  });

  it.runIf(full)('needs every deviation that is listed', () => {
    expect(deviations.filter((deviation) => !used.has(deviation)).map(({ reason }) => reason)).toEqual([]);
  });

  afterAll(() => {
    console.log(
      `vectors: ${totals.cases} cases of ${totals.forms} forms as the CPU did them (every ${every}.), ${totals.excused} as a deviation says`,
    );
    for (const [{ reason }, count] of used) console.log(`  ${count} × ${reason}`);
  });
});
