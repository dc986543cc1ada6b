import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import FailureReporter, { type Told } from './failure-reporter.mjs';
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
function resultsOf(suites: readonly object[], status = 0, unhandled: readonly Told[] = [], tests: readonly Told[] = []) {
  const report = join(folder, 'build/vitest.json');
  const failures = join(folder, 'build/failures.json');
  writeFileSync(report, JSON.stringify({ testResults: suites }));
  writeFileSync(failures, JSON.stringify({ unhandled, tests }));
  return readResults(folder, { report, failures, status });
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
    const lost = { file: join(folder, 'x.test.ts'), title: 'adds', message: 'Error: lost' };
    const named = (...[suites, status, errors]: Parameters<typeof resultsOf>) => summarize(resultsOf(suites, status, errors)).failures;
    expect(named([well, suite('y.test.ts', [], 'SyntaxError')], 1)).toEqual([{ name: 'y.test.ts', message: 'SyntaxError' }]);
    expect(named([well], 1, [lost])).toEqual([{ name: 'x.test.ts > an error that no test awaited', message: "while 'adds' ran: Error: lost" }]);
    expect(named([well], 1)).toEqual([{ name: 'vitest', message: expect.stringContaining('status 1, though no test failed') }]);
    const absent = readResults(folder, { report: join(folder, 'absent'), failures: join(folder, 'absent'), status: 137 });
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
    const lost = { file: join(folder, 'x'), title: '', message: 'Error: lost' };
    const first = resultsOf([suite('x', [{ title: 'adds' }])], 1, [lost]);
    const well = resultsOf([suite('x', [{ title: 'adds' }])]);
    expect(filesToRepeat(first)).toEqual(['x']);
    expect(summarize(first, ['x'], well)).toMatchObject({ passed: 1, failed: 0, flaky: [{ name: 'x > an error that no test awaited' }] });
    expect(summarize(first, ['x'], first)).toMatchObject({ passed: 1, failed: 1 });
    expect(summarize(first, ['x'], [])).toMatchObject({ failed: 1 });
  });
});

it('the reporter tells what failed tests and errors that no test awaited said', () => {
  const file = join(folder, 'failures.json');
  const before = process.env['NESTVM_FAILURES'];
  process.env['NESTVM_FAILURES'] = file;
  const late = { message: 'Test timed out in 5 ms.', stack: 'Error: STACK_TRACE_ERROR\n    at x:3' };
  const unequal = { message: 'expected 1 to be 2', diff: '- 2\n+ 1', stack: 'AssertionError: expected 1 to be 2\n    at x:4' };
  const failed = [late, unequal].map((error) => ({ fullName: 'it > waits', result: () => ({ errors: [error] }) }));
  try {
    new FailureReporter().onTestRunEnd(
      [{ moduleId: join(folder, 'x'), children: { allTests: () => failed } }],
      [{ message: 'lost', stack: 'Error: lost\n    at y', VITEST_TEST_PATH: join(folder, 'x'), VITEST_TEST_NAME: 'adds' }, {}],
    );
  } finally {
    if (before === undefined) delete process.env['NESTVM_FAILURES'];
    else process.env['NESTVM_FAILURES'] = before;
  }
  const { tests, unhandled } = JSON.parse(readFileSync(file, 'utf8')) as { tests: Told[]; unhandled: Told[] };
  expect(unhandled.map(({ title, message }) => [title, message])).toEqual([
    ['adds', 'lost\n    at y'],
    ['', 'no message'],
  ]);
  // Two tests of one title get what they said themselves.
  const twice = ['waits', 'waits'].map((title) => ({ title, failure: 'a stack' }));
  expect(summarize(resultsOf([suite('x', twice)], 1, [], tests)).failures).toEqual([
    { name: 'x > it > waits', message: 'Test timed out in 5 ms.\n    at x:3' },
    { name: 'x > it > waits (2)', message: 'expected 1 to be 2\n- 2\n+ 1\n    at x:4' },
  ]);
});
