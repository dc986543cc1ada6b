// @ts-check
/**
 * All checks and all test suites: `npm test`. Options: `--only NAME[,NAME]`, `--label TEXT` (name of the report), then arguments for vitest.
 * The last line is `N passed, N failed`: every check and every test counts as one.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { childEnvironment, root } from './bootstrap.mjs';

/** @typedef {{ name: string, title: string, command: string[], after?: string }} Check */
/** @typedef {{ passed: number, failed: number }} Count */

const script = (/** @type {string} */ name, /** @type {string[]} */ ...args) => ['node', `tools/workspace/${name}`, ...args];

/** @type {Check[]} In the order of their speed: the first failure comes early. */
const CHECKS = [
  { name: 'layers', title: 'layers.json against imports, manifests, tsconfig references and documents', command: script('check-layers.mjs') },
  { name: 'budgets', title: 'names, file and function lengths', command: script('check-budgets.mjs') },
  { name: 'readmes', title: 'READMEs and their examples', command: script('check-readmes.mjs') },
  { name: 'format', title: 'format and import order (Biome)', command: ['biome', 'check', '--diagnostic-level=error', '.'] },
  { name: 'lint', title: 'lint, type-aware (oxlint)', command: ['oxlint', '--type-aware', '--quiet'] },
  {
    name: 'boundaries',
    title: 'package boundaries and cycles (dependency-cruiser)',
    command: ['depcruise', 'packages', 'apps', 'tools', '--config', '.dependency-cruiser.mjs', '--output-type', 'err-long'],
  },
  { name: 'dead-code', title: 'unused files, exports and dependencies (knip)', command: ['knip', '--no-config-hints'] },
  { name: 'types', title: 'types of everything, tests included (tsc)', command: ['tsc', '-p', 'tsconfig.json'] },
  { name: 'build', title: 'build every package (turbo)', command: ['turbo', 'run', 'build', '--output-logs=errors-only', '--concurrency=2'] },
  { name: 'publish', title: 'what would be published (publint, attw)', command: script('check-published.mjs'), after: 'build' },
];

const reports = join(root, 'build', 'reports');
const seconds = (/** @type {number} */ startMs) => `${((Date.now() - startMs) / 1000).toFixed(1)} s`;

/**
 * Runs a command to its end; `onOutput` gets its output, or it is ours when absent.
 * @param {string[]} command @param {(text: string) => void} [onOutput] @returns {Promise<number>} its exit status
 */
function run([program, ...args], onOutput) {
  const local = join(root, 'node_modules', '.bin', program ?? '');
  const executable = program === 'node' ? process.execPath : local;
  return new Promise((resolve) => {
    const child = spawn(executable, args, {
      cwd: root,
      env: childEnvironment(),
      stdio: ['ignore', onOutput ? 'pipe' : 'inherit', onOutput ? 'pipe' : 'inherit'],
    });
    child.stdout?.on('data', (data) => onOutput?.(String(data)));
    child.stderr?.on('data', (data) => onOutput?.(String(data)));
    child.on('error', (error) => {
      process.stdout.write(`cannot start ${executable}: ${error.message}\n`);
      resolve(127);
    });
    child.on('close', (status) => resolve(status ?? 1));
  });
}

/** @param {Check} check @returns {Promise<boolean>} */
async function runCheck(check) {
  const startMs = Date.now();
  let output = '';
  const status = await run(check.command, (text) => {
    output += text;
  });
  const passed = status === 0;
  process.stdout.write(`${passed ? '✓' : '✗'} ${check.name}: ${check.title} (${seconds(startMs)})\n`);
  if (!passed) process.stdout.write(`${output.trimEnd()}\n✗ ${check.name} failed with status ${status}: ${check.command.join(' ')}\n`);
  // Warnings of a check that passed are worth seeing only when they are asked for.
  else if (process.env['NESTVM_VERBOSE'] !== undefined) process.stdout.write(output);
  return passed;
}

/**
 * Two checks at a time, each after the one that it needs.
 * @param {Check[]} checks @returns {Promise<Count>}
 */
async function runChecks(checks) {
  /** @type {Map<string, Promise<boolean>>} */
  const started = new Map();
  const queue = [...checks];
  const worker = async () => {
    for (let check = queue.shift(); check; check = queue.shift()) {
      if (check.after) await started.get(check.after);
      const result = runCheck(check);
      started.set(check.name, result);
      await result;
    }
  };
  await Promise.all([worker(), worker()]);
  const results = await Promise.all(started.values());
  const passed = results.filter(Boolean).length;
  return { passed, failed: results.length - passed };
}

/**
 * Counts a vitest JSON report; a file that did not even load counts as one failure.
 * @param {string} file @param {number} status exit status of vitest @returns {Count}
 */
function countTests(file, status) {
  if (!existsSync(file)) return { passed: 0, failed: 1 };
  /** @type {{ numPassedTests: number, numFailedTests: number, testResults: { status: string, assertionResults: { status: string }[] }[] }} */
  const report = JSON.parse(readFileSync(file, 'utf8'));
  const unloaded = report.testResults.filter(
    (suite) => suite.status === 'failed' && !suite.assertionResults.some((test) => test.status === 'failed'),
  );
  const failed = report.numFailedTests + unloaded.length;
  // Unhandled errors and empty runs fail vitest without failing a test.
  return { passed: report.numPassedTests, failed: failed === 0 && status !== 0 ? 1 : failed };
}

/** @param {string} label @param {string[]} args @returns {Promise<Count>} */
async function runTests(label, args) {
  const startMs = Date.now();
  const file = join(reports, `vitest-${label}.json`);
  process.stdout.write(`… tests: all vitest suites on Node ${process.versions.node}\n`);
  const status = await run(['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...args]);
  const count = countTests(file, status);
  process.stdout.write(`${count.failed === 0 ? '✓' : '✗'} tests (${seconds(startMs)})\n`);
  return count;
}

/** @param {string[]} argv */
function parseArguments(argv) {
  const rest = [...argv];
  /** @param {string} name */
  const take = (name) => {
    const at = rest.indexOf(name);
    return at < 0 ? undefined : rest.splice(at, 2)[1];
  };
  const only = take('--only')?.split(',');
  const label = take('--label') ?? `node-${process.versions.node.split('.')[0]}`;
  const known = new Set([...CHECKS.map((check) => check.name), 'tests']);
  const unknown = only?.find((name) => !known.has(name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there is no such check; they are ${[...known].join(', ')}`);
  return { wants: (/** @type {string} */ name) => only?.includes(name) ?? true, label, rest };
}

/** @param {string[]} argv @returns {Promise<boolean>} */
async function main(argv) {
  const { wants, label, rest } = parseArguments(argv);
  mkdirSync(reports, { recursive: true });
  for (const kind of ['vitest', 'summary']) rmSync(join(reports, `${kind}-${label}.json`), { force: true });
  const checks = await runChecks(CHECKS.filter((check) => wants(check.name)));
  const tests = wants('tests') ? await runTests(label, rest) : { passed: 0, failed: 0 };
  const total = { passed: checks.passed + tests.passed, failed: checks.failed + tests.failed };
  writeFileSync(join(reports, `summary-${label}.json`), JSON.stringify(total));
  process.stdout.write(`checks: ${checks.passed} passed, ${checks.failed} failed; tests: ${tests.passed} passed, ${tests.failed} failed\n`);
  process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
  return total.failed === 0 && total.passed > 0;
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
