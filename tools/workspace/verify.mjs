// @ts-check
/**
 * All checks and all test suites: `npm test`. Options: `--only NAME[,NAME]`, `--label TEXT` (name of the report), then arguments for vitest.
 * The last line is `N passed, N failed`: every check and every test counts as one. Test files that failed, when they are few, run once more, alone; what
 * passes then is told as flaky.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { childEnvironment, root } from './bootstrap.mjs';
import { addUp, PASSED_AGAIN, tailOf, tell, writeSummary } from './summaries.mjs';
import { filesToRepeat, readResults, summarize } from './vitest-results.mjs';

/** `again`: it runs many processes, and gets a second chance, alone. @typedef {{ name: string, title: string, command: string[], after?: string, again?: true }} Check */
/** @typedef {import('./summaries.mjs').Failure} Failure */
/** @typedef {import('./summaries.mjs').Summary} Summary */

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
  {
    name: 'build',
    title: 'build every package (turbo)',
    command: ['turbo', 'run', 'build', '--output-logs=errors-only', '--concurrency=2'],
    again: true,
  },
  { name: 'publish', title: 'what would be published (publint, attw)', command: script('check-published.mjs'), after: 'build', again: true },
];

const reports = join(root, 'build', 'reports');
const seconds = (/** @type {number} */ startMs) => `${((Date.now() - startMs) / 1000).toFixed(1)} s`;

/**
 * Runs a command to its end; `onOutput` gets its output, or it is ours when absent.
 * @param {string[]} command @param {(text: string) => void} [onOutput] @param {Record<string, string>} [variables] @returns {Promise<number>} its exit status
 */
function run([program, ...args], onOutput, variables = {}) {
  const local = join(root, 'node_modules', '.bin', program ?? '');
  const executable = program === 'node' ? process.execPath : local;
  return new Promise((resolve) => {
    const child = spawn(executable, args, {
      cwd: root,
      env: { ...childEnvironment(), ...variables },
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

/** @param {Check} check @returns {Promise<Failure | undefined>} */
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
  return passed
    ? undefined
    : { name: `check ${check.name} (${check.command.join(' ')})`, message: tailOf(output) || `it ended with status ${status}` };
}

/**
 * Two checks at a time, each after the one that it needs.
 * @param {Check[]} checks @returns {Promise<Summary>}
 */
async function runChecks(checks) {
  /** @type {Map<string, Promise<Failure | undefined>>} */
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
  /** @type {Summary} */
  const summary = { passed: 0, failed: 0, failures: [], flaky: [] };
  for (const check of checks) {
    const failure = await started.get(check.name);
    if (failure === undefined) summary.passed++;
    else if (check.again && (await runCheck(check)) === undefined) {
      summary.passed++;
      summary.flaky.push({ ...failure, note: PASSED_AGAIN });
    } else summary.failures.push(failure);
  }
  return { ...summary, failed: summary.failures.length };
}

/** Runs vitest; its reports are called `label`. @param {string} label @param {string[]} args */
async function runVitest(label, args) {
  const report = join(reports, `vitest-${label}.json`);
  const failures = join(reports, `failures-${label}.json`);
  for (const file of [report, failures]) rmSync(file, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--reporter=./tools/workspace/failure-reporter.mjs`, `--outputFile.json=${report}`];
  const status = await run(['vitest', 'run', ...reporters, ...args], undefined, { NESTVM_FAILURES: failures });
  return readResults(root, { report, failures, status });
}

/** @param {string} label @param {string[]} args @returns {Promise<Summary>} */
async function runTests(label, args) {
  const startMs = Date.now();
  process.stdout.write(`… tests: all vitest suites on Node ${process.versions.node}\n`);
  const first = await runVitest(label, args);
  const repeated = filesToRepeat(first);
  let summary = summarize(first);
  if (repeated.length > 0) {
    process.stdout.write(`${tell(summary)}… tests: once more, alone: ${repeated.join(', ')}\n`);
    // Of the arguments, what chooses tests is left out.
    const settings = args.filter((arg) => /^--.+=/.test(arg));
    summary = summarize(first, repeated, await runVitest(`${label}-again`, [...settings, '--no-file-parallelism', ...repeated]));
  }
  process.stdout.write(`${summary.failed === 0 ? '✓' : '✗'} tests (${seconds(startMs)})\n`);
  return summary;
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
  for (const name of [`vitest-${label}`, `vitest-${label}-again`, `summary-${label}`]) rmSync(join(reports, `${name}.json`), { force: true });
  const checks = await runChecks(CHECKS.filter((check) => wants(check.name)));
  const tests = wants('tests') ? await runTests(label, rest) : addUp([]);
  const total = addUp([checks, tests]);
  writeSummary(label, total);
  process.stdout.write(tell(total));
  process.stdout.write(`checks: ${checks.passed} passed, ${checks.failed} failed; tests: ${tests.passed} passed, ${tests.failed} failed\n`);
  process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
  return total.failed === 0 && total.passed > 0;
}

const HELP = `All checks and all test suites; the last line is "N passed, N failed".

usage: node tools/workspace/verify.mjs [--only NAME[,NAME]] [--label TEXT] [arguments for vitest]

--only NAME   nothing but these: ${[...CHECKS.map((check) => check.name), 'tests'].join(', ')}
--label TEXT  name of the report in build/reports (node-${process.versions.node.split('.')[0]})

node tools/workspace/verify.mjs --only lint,types
node tools/workspace/verify.mjs --only tests packages/mmu
`;

if (process.argv.slice(2).some((argument) => argument === '--help' || argument === '-h')) process.stdout.write(HELP);
else process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
