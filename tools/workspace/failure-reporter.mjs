// @ts-check
/**
 * A vitest reporter for what its JSON report leaves out: errors that no test awaited, which fail the run without failing a test, and what failed tests
 * said (there is only a stack in the report, which says nothing of a test that took too long). It goes to the file that `NESTVM_FAILURES` names.
 */
import { writeFileSync } from 'node:fs';

/** @typedef {{ message?: string, stack?: string, diff?: string, VITEST_TEST_PATH?: unknown, VITEST_TEST_NAME?: unknown }} Thrown */
/** @typedef {{ fullName: string, result(): { errors?: readonly Thrown[] } }} FailedTest */
/** @typedef {{ moduleId: string, children: { allTests(state: 'failed'): Iterable<FailedTest> } }} Module */
/** What is written: `file` is absolute. @typedef {{ file?: string | undefined, title: string, message: string }} Told */

/** What it says, how the values differ, and where it was thrown. @param {Thrown} error */
function textOf({ message = 'no message', diff, stack }) {
  const places = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line));
  return [message, ...(diff === undefined ? [] : [diff]), ...places].join('\n');
}

export default class FailureReporter {
  /** @param {readonly Module[]} modules @param {readonly Thrown[]} errors */
  onTestRunEnd(modules, errors) {
    const file = process.env['NESTVM_FAILURES'];
    if (file === undefined) return;
    /** @type {Told[]} */
    const tests = modules.flatMap((module) =>
      [...module.children.allTests('failed')].map((test) => ({
        file: module.moduleId,
        title: test.fullName,
        message: (test.result().errors ?? []).map(textOf).join('\n'),
      })),
    );
    /** @type {Told[]} */
    const unhandled = errors.map((error) => ({
      file: typeof error.VITEST_TEST_PATH === 'string' ? error.VITEST_TEST_PATH : undefined,
      title: typeof error.VITEST_TEST_NAME === 'string' ? error.VITEST_TEST_NAME : '',
      message: textOf(error),
    }));
    writeFileSync(file, JSON.stringify({ tests, unhandled }));
  }
}
