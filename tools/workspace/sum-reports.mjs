// @ts-check
/** Adds up the summaries of the labels given (`build/reports/summary-LABEL.json`) and prints `N passed, N failed`; a missing one is a failure. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const total = { passed: 0, failed: 0 };
for (const label of process.argv.slice(2)) {
  const file = fileURLToPath(new URL(`../../build/reports/summary-${label}.json`, import.meta.url));
  const count = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { passed: 0, failed: 1 };
  process.stdout.write(`${label}: ${count.passed} passed, ${count.failed} failed${existsSync(file) ? '' : ' (it ended before its summary)'}\n`);
  total.passed += count.passed;
  total.failed += count.failed;
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
