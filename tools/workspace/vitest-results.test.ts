import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import UnhandledReporter from './unhandled-reporter.mjs';
import { filesToRepeat, readResults, summarize } from './vitest-results.mjs';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nestvm-results-'));
  mkdirSync(join(folder, 'build'));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Test {
  readonly title: string;
  readonly failure?: string;
}
const suite = (file: string, tests: readonly Test[], failure?: string): object => ({
  name: join(folder, file),
  status: failure !== undefined || tests.some((test) => test.failure) ? 'failed' : 'passed',
  message: failure ?? '',
  assertionResults: tests.map(({ title, failure: message }) => ({
    ancestorTitles: ['it'],
    title,
    status: message === undefined ? 'passed' : 'failed',
    failureMessages: message === undefined ? [] : [message],
  })),
});

/** Results of a run that wrote these suites and errors. */
function resultsOf(suites: readonly object[], status = 0, errors?: readonly object[]) {
  const report = join(folder, 'build/vitest.json');
  const unhandled = join(folder, 'build/unhandled.json');
  writeFileSync(report, JSON.stringify({ testResults: suites }));
  rmSync(unhandled, { force: true });
  if (errors) writeFileSync(unhandled, JSON.stringify(errors));
  return readResults(folder, { report, unhandled, status });
}

describe('the results of one run', () => {
  it('name each failed test by its file and its full title', () => {
    const results = resultsOf([suite('a/x.test.ts', [{ title: 'adds' }, { title: 'subtracts', failure: 'AssertionError: 1\n at x' }])], 1);
    expect(summarize(results)).toEqual({
      passed: 1,
      failed: 1,
      failures: [{ name: 'a/x.test.ts > it > subtracts', message: 'AssertionError: 1\n at x' }],
      flaky: [],
    });
  });

  it('count a file that did not load, an error that no test awaited, and a run that failed without either', () => {
    const well = suite('x.test.ts', [{ title: 'adds' }]);
    const lost = { file: join(folder, 'x.test.ts'), message: 'Error: lost' };
    const named = (...[suites, status, errors]: Parameters<typeof resultsOf>) => summarize(resultsOf(suites, status, errors)).failures;
    expect(named([well, suite('y.test.ts', [], 'SyntaxError')], 1)).toEqual([{ name: 'y.test.ts', message: 'SyntaxError' }]);
    expect(named([well], 1, [lost])).toEqual([{ name: 'x.test.ts > an error that no test awaited', message: 'Error: lost' }]);
    expect(named([well], 1)).toEqual([{ name: 'vitest', message: expect.stringContaining('status 1, though no test failed') }]);
    const absent = readResults(folder, { report: join(folder, 'absent'), unhandled: join(folder, 'absent'), status: 137 });
    expect(summarize(absent)).toMatchObject({ passed: 0, failed: 1, failures: [{ message: expect.stringContaining('status 137') }] });
  });
});

describe('a second run', () => {
  const failing = (...files: string[]) =>
    resultsOf(
      files.map((file) => suite(file, [{ title: 'waits', failure: 'too late' }])),
      1,
    );

  it('is of the failed files, when they are few and known', () => {
    expect(filesToRepeat(failing('a', 'b', 'c', 'd', 'e'))).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect(filesToRepeat(failing('a', 'b', 'c', 'd', 'e', 'f'))).toEqual([]);
    expect(filesToRepeat(resultsOf([suite('a', [{ title: 'adds' }])]))).toEqual([]);
    expect(filesToRepeat(resultsOf([suite('a', [{ title: 'adds' }])], 1))).toEqual([]);
  });

  it('makes a test flaky that passes then, and leaves one failed that fails again or is absent', () => {
    const tests = ['waits', 'breaks', 'goes'].map((title) => ({ title, failure: `${title}: first` }));
    const first = resultsOf([suite('x', [{ title: 'adds' }, ...tests])], 1);
    const second = resultsOf([suite('x', [{ title: 'adds' }, { title: 'waits' }, { title: 'breaks', failure: 'again' }])], 1);
    expect(summarize(first, ['x'], second)).toEqual({
      passed: 2,
      failed: 2,
      failures: ['breaks', 'goes'].map((title) => ({ name: `x > it > ${title}`, message: `${title}: first` })),
      flaky: [{ name: 'x > it > waits', message: 'waits: first', note: 'passed when run again alone' }],
    });
  });

  it('tells a test as flaky that fails only then', () => {
    const first = resultsOf([suite('x', [{ title: 'adds' }, { title: 'waits', failure: 'late' }])], 1);
    const second = resultsOf([suite('x', [{ title: 'adds', failure: 'broken' }, { title: 'waits' }])], 1);
    expect(summarize(first, ['x'], second)).toMatchObject({
      passed: 2,
      failed: 0,
      flaky: [{ name: 'x > it > waits' }, { name: 'x > it > adds', message: 'broken', note: 'passed, but failed when run again alone' }],
    });
  });

  it('counts the tests of a file that loads only then', () => {
    const first = resultsOf([suite('x', [], 'cannot read y')], 1);
    const second = resultsOf([suite('x', [{ title: 'adds' }, { title: 'breaks', failure: 'no' }])], 1);
    expect(summarize(first, ['x'], second)).toMatchObject({ passed: 1, failed: 1, failures: [{ name: 'x > it > breaks' }], flaky: [{ name: 'x' }] });
  });

  it('decides about errors that no test awaited', () => {
    const lost = { file: join(folder, 'x'), message: 'Error: lost' };
    const first = resultsOf([suite('x', [{ title: 'adds' }])], 1, [lost]);
    const well = resultsOf([suite('x', [{ title: 'adds' }])]);
    expect(filesToRepeat(first)).toEqual(['x']);
    expect(summarize(first, ['x'], well)).toMatchObject({ passed: 1, failed: 0, flaky: [{ name: 'x > an error that no test awaited' }] });
    expect(summarize(first, ['x'], first)).toMatchObject({ passed: 1, failed: 1 });
    expect(summarize(first, ['x'], [])).toMatchObject({ failed: 1 });
  });
});

it('the reporter writes the errors that no test awaited', () => {
  const file = join(folder, 'unhandled.json');
  const before = process.env['NESTVM_UNHANDLED'];
  process.env['NESTVM_UNHANDLED'] = file;
  try {
    new UnhandledReporter().onTestRunEnd(
      [],
      [{ stack: 'Error: lost\n at y', VITEST_TEST_PATH: '/x', VITEST_TEST_NAME: 'adds' }, { message: 'no stack' }],
    );
  } finally {
    if (before === undefined) delete process.env['NESTVM_UNHANDLED'];
    else process.env['NESTVM_UNHANDLED'] = before;
  }
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual([{ file: '/x', message: "while 'adds' ran: Error: lost\n at y" }, { message: 'no stack' }]);
});
