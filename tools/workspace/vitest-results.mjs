// @ts-check
/** What vitest's reports say, and what a second run of the files that failed says about the first. */
import { existsSync, readFileSync } from 'node:fs';
import { relative, sep } from 'node:path';
import { headOf, PASSED_AGAIN } from './summaries.mjs';

/**
 * One thing that passed or failed: a test, a file as a whole (it did not load, or a hook of it failed), or errors that no test awaited.
 * `file` is empty for what belongs to none.
 * @typedef {{ kind: 'test' | 'file' | 'errors', file: string, title: string, passed: boolean, message: string }} Result
 */
/** @typedef {import('./summaries.mjs').Summary} Summary */
/** @typedef {import('./failure-reporter.mjs').Told} Told */
/** @typedef {{ status: string, title: string, ancestorTitles: string[], failureMessages?: string[] | null }} Assertion */
/** @typedef {{ name: string, status: string, message: string, assertionResults: Assertion[] }} Suite */

/** More failed files than these are no accident. */
const MOST_REPEATED = 5;

/** @param {Result} result */
const nameOf = ({ file, title }) => [file, title].filter((part) => part !== '').join(' > ');

/** @param {Suite} suite @param {string} file @param {Told[]} told what its failed tests said @returns {Result[]} */
function resultsOf(suite, file, told) {
  const rest = [...told];
  /** The next message of a test of this title. @param {string} title */
  const messageOf = (title) => {
    const at = rest.findIndex((test) => test.title === title);
    return at < 0 ? undefined : rest.splice(at, 1)[0]?.message;
  };
  /** @type {Map<string, number>} Tests of one file may have one title; they are told apart by their order. */
  const seen = new Map();
  /** @type {Result[]} */
  const results = suite.assertionResults
    .filter(({ status }) => status === 'passed' || status === 'failed')
    .map((test) => {
      const words = [...test.ancestorTitles, test.title].join(' > ');
      const times = (seen.get(words) ?? 0) + 1;
      seen.set(words, times);
      const passed = test.status === 'passed';
      const message = passed ? '' : headOf(messageOf(words) ?? (test.failureMessages ?? []).join('\n'));
      return { kind: 'test', file, title: times === 1 ? words : `${words} (${times})`, passed, message };
    });
  if (suite.status === 'failed' && results.every(({ passed }) => passed)) {
    results.push({ kind: 'file', file, title: '', passed: false, message: headOf(suite.message || 'the file failed, though no test of it did') });
  }
  return results;
}

/**
 * The results of one run of vitest. Errors that no test awaited and empty runs fail it without failing a test.
 * @param {string} root
 * @param {{ report: string, failures: string, status: number }} run the files that vitest and our reporter wrote, and its exit status
 * @returns {Result[]}
 */
export function readResults(root, { report, failures, status }) {
  const fileOf = (/** @type {string} */ path) => relative(root, path).split(sep).join('/');
  const whole = (/** @type {string} */ message) => ({ kind: /** @type {const} */ ('errors'), file: '', title: 'vitest', passed: false, message });
  if (!existsSync(report)) return [whole(`it ended with status ${status} and wrote no report: see its output`)];
  const { testResults } = /** @type {{ testResults: Suite[] }} */ (JSON.parse(readFileSync(report, 'utf8')));
  /** @type {{ tests: Told[], unhandled: Told[] }} */
  const { tests, unhandled } = existsSync(failures) ? JSON.parse(readFileSync(failures, 'utf8')) : { tests: [], unhandled: [] };
  const toldOf = (/** @type {string} */ file) => tests.filter((test) => test.file !== undefined && fileOf(test.file) === file);
  const results = testResults.flatMap((suite) => resultsOf(suite, fileOf(suite.name), toldOf(fileOf(suite.name))));
  for (const { file, title, message: said } of unhandled) {
    const message = title === '' ? said : `while '${title}' ran: ${said}`;
    results.push({
      kind: 'errors',
      file: file === undefined ? '' : fileOf(file),
      title: 'an error that no test awaited',
      passed: false,
      message: headOf(message),
    });
  }
  if (status !== 0 && results.every(({ passed }) => passed))
    results.push(whole(`it ended with status ${status}, though no test failed: see its output`));
  return results;
}

/** The files that a second run may decide about: those that failed, when they are few. @param {Result[]} results */
export function filesToRepeat(results) {
  const files = new Set(results.filter(({ passed, file }) => !passed && file !== '').map(({ file }) => file));
  return files.size > MOST_REPEATED ? [] : [...files];
}

/**
 * A failure that did not come back: a test has passed, or a file and the errors in it are not told of any more.
 * @param {Result} failure @param {Result[]} again the second run's results for its file
 */
function isForgiven(failure, again) {
  if (failure.kind === 'test') return again.some(({ kind, title, passed }) => kind === 'test' && title === failure.title && passed);
  return again.length > 0 && !again.some(({ kind, passed }) => kind !== 'test' && !passed);
}

/**
 * Counts a run. With a second run of `repeated` files: what passed then counts as passed, and is told as flaky, as is what failed only then.
 * @param {Result[]} first @param {string[]} [repeated] @param {Result[]} [second] @returns {Summary}
 */
export function summarize(first, repeated = [], second = []) {
  const againOf = (/** @type {string} */ file) => (repeated.includes(file) ? second.filter((result) => result.file === file) : []);
  const forgiven = first.filter((result) => !result.passed && isForgiven(result, againOf(result.file)));
  const failures = first.filter((result) => !result.passed && !forgiven.includes(result));
  const known = new Set(first.filter(({ kind }) => kind === 'test').map(nameOf));
  // A file that did not load at first tells its tests only now.
  const late = second.filter((result) => result.kind === 'test' && !known.has(nameOf(result)));
  failures.push(...late.filter(({ passed }) => !passed));
  const worse = second.filter(
    (result) => result.kind === 'test' && !result.passed && first.some((test) => test.passed && nameOf(test) === nameOf(result)),
  );
  const passedTests = [
    ...first.filter(({ passed }) => passed),
    ...forgiven.filter(({ kind }) => kind === 'test'),
    ...late.filter(({ passed }) => passed),
  ];
  return {
    passed: passedTests.length,
    failed: failures.length,
    failures: failures.map((result) => ({ name: nameOf(result), message: result.message })),
    flaky: [
      ...forgiven.map((result) => ({ name: nameOf(result), message: result.message, note: PASSED_AGAIN })),
      ...worse.map((result) => ({ name: nameOf(result), message: result.message, note: 'passed, but failed when run again alone' })),
    ],
  };
}
