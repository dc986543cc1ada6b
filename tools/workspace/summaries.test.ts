import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { addUp, headOf, tailOf, tell } from './summaries.mjs';
import { root } from './workspace.mjs';

describe('a summary', () => {
  it('keeps the first lines of a message, the last of an output, and no colours', () => {
    const text = Array.from({ length: 40 }, (_, at) => `\u001b[31mline ${at}\u001b[39m`).join('\r\n');
    expect(headOf(text).split('\n')).toEqual(Array.from({ length: 15 }, (_, at) => `line ${at}`));
    expect(tailOf(`${text}\n\n`).split('\n')).toEqual(Array.from({ length: 15 }, (_, at) => `line ${at + 25}`));
    expect(headOf('x'.repeat(1000))).toHaveLength(300);
  });

  it('says nothing when all is well, and each failure with its message, names last', () => {
    const well = { passed: 3, failed: 0, failures: [], flaky: [] };
    expect(tell(well)).toBe('');
    const bad = { passed: 1, failed: 2, failures: ['a', 'b'].map((name) => ({ name, message: `why ${name}\nwhere` })), flaky: [] };
    expect(tell(addUp([well, bad]))).toBe('✗ a\n    why a\n    where\n✗ b\n    why b\n    where\nfailed: a\nfailed: b\n');
    expect(addUp([well, bad])).toMatchObject({ passed: 4, failed: 2 });
  });

  it('stays short when everything fails', () => {
    const failures = Array.from({ length: 500 }, (_, at) => ({ name: `test ${at}`, message: 'x\n'.repeat(15).trim() }));
    const lines = tell({ passed: 0, failed: 500, failures, flaky: [] }).trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(20 * 16 + 61);
    expect(lines.at(-1)).toBe('failed: 440 more');
  });
});

describe('sum-reports', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'nestvm-sums-'));
    mkdirSync(join(folder, 'tools/workspace'), { recursive: true });
    mkdirSync(join(folder, 'build/reports'), { recursive: true });
    for (const file of ['sum-reports.mjs', 'summaries.mjs']) copyFileSync(join(root, 'tools/workspace', file), join(folder, 'tools/workspace', file));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const put = (label: string, summary: object): void => writeFileSync(join(folder, `build/reports/summary-${label}.json`), JSON.stringify(summary));
  function sum(...labels: string[]): { readonly status: number | null; readonly text: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'tools/workspace/sum-reports.mjs'), ...labels], {
      encoding: 'utf8',
    });
    return { status, text: stdout + stderr };
  }

  it('adds up, and counts a missing report as a failure', () => {
    put('a', { passed: 3, failed: 0 });
    put('b', { passed: 4, failed: 1 });
    expect(sum('a')).toMatchObject({ status: 0, text: expect.stringMatching(/\n3 passed, 0 failed\n$/) });
    expect(sum('a', 'b')).toMatchObject({ status: 1, text: expect.stringMatching(/\n7 passed, 1 failed\n$/) });
    expect(sum('a', 'c')).toMatchObject({
      status: 1,
      text: expect.stringMatching(/✗ c: c\n {4}it ended before its summary\n[^]*\n3 passed, 1 failed\n$/),
    });
    expect(sum()).toMatchObject({ status: 1 });
  });

  it('ends with what failed and what is flaky, of every label', () => {
    put('a', { passed: 2, failed: 1, failures: [{ name: 'x.test.ts > adds', message: 'expected 1 to be 2\n at x.test.ts:3' }], flaky: [] });
    put('b', {
      passed: 5,
      failed: 0,
      failures: [],
      flaky: [{ name: 'guest boot', message: 'no "login:" on the console', note: 'passed when run again alone' }],
    });
    expect(sum('a', 'b')).toEqual({
      status: 1,
      text: `✗ a: x.test.ts > adds
    expected 1 to be 2
     at x.test.ts:3
flaky: b: guest boot (passed when run again alone)
    no "login:" on the console
a: 2 passed, 1 failed
b: 5 passed, 0 failed, 1 of the passed flaky
7 passed, 1 failed
`,
    });
  });
});
