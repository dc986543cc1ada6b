// @ts-check
/**
 * A vitest reporter for what its JSON report leaves out: errors that no test awaited, which fail the run without failing a test.
 * They go to the file that `NESTVM_UNHANDLED` names.
 */
import { writeFileSync } from 'node:fs';

export default class UnhandledReporter {
  /**
   * @param {unknown} _modules
   * @param {readonly { message?: string, stack?: string, VITEST_TEST_PATH?: unknown, VITEST_TEST_NAME?: unknown }[]} errors
   */
  onTestRunEnd(_modules, errors) {
    const file = process.env['NESTVM_UNHANDLED'];
    if (file === undefined) return;
    const found = errors.map((error) => ({
      file: typeof error.VITEST_TEST_PATH === 'string' ? error.VITEST_TEST_PATH : undefined,
      message: `${typeof error.VITEST_TEST_NAME === 'string' ? `while '${error.VITEST_TEST_NAME}' ran: ` : ''}${error.stack ?? error.message ?? 'no message'}`,
    }));
    writeFileSync(file, JSON.stringify(found));
  }
}
