// @ts-check
/**
 * Adds up the summaries of the labels given (`build/reports/summary-LABEL.json`): prints what failed and what is flaky, then `N passed, N failed`.
 * A missing summary is a failure.
 */
import { addUp, readSummary, tell } from './summaries.mjs';

/** @param {import('./summaries.mjs').Failure} failure @param {string} label */
const labelled = (failure, label) => ({ ...failure, name: `${label}: ${failure.name}` });

const summaries = process.argv.slice(2).map((label) => ({ label, ...readSummary(label) }));
for (const { label, ...summary } of summaries) {
  const { failures, flaky } = summary;
  process.stdout.write(
    tell({
      ...summary,
      failures: failures.map((each) => labelled(each, label)),
      flaky: flaky.map((each) => ({ ...each, ...labelled(each, label) })),
    }),
  );
}
for (const { label, passed, failed, flaky } of summaries) {
  process.stdout.write(`${label}: ${passed} passed, ${failed} failed${flaky.length === 0 ? '' : `, ${flaky.length} of the passed flaky`}\n`);
}
const total = addUp(summaries);
process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1;
