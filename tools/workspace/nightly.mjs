// @ts-check
/**
 * The long tests: `pnpm test:nightly`. Everything that `npm test` does with a sample is done in full here: all captured vectors, a million random VMCSs and
 * VMCBs each, a million operations on each device, every opcode-map prefix and ten million byte strings a mode against iced-x86, ACPICA's reading of the ACPI tables, the API reference, four
 * hours of the soak, then all guests. Takes hours; the last line is `N passed, N failed`. `--only fuzz[,soak…]`: these steps alone (`pnpm test:fuzz` is the first).
 */
import { spawnSync } from 'node:child_process';
import { childEnvironment, root } from './bootstrap.mjs';
import { writeSummary } from './summaries.mjs';

/** Sizes of the suites, as their test files read them. */
const FULL = {
  NESTVM_VECTORS: 'full',
  NESTVM_FUZZ_OPERATIONS: '5000000',
  NESTVM_CHIPSET_FUZZ: '1000000',
  NESTVM_VIRTIO_FUZZ: '250000',
  NESTVM_MONITOR_FUZZ: '1000000',
  NESTVM_NETWORK_FUZZ: '1000000',
  VMX_FUZZ: '1000000',
  SVM_FUZZ: '1000000',
  NESTVM_MIGRATION_FUZZ: '100000',
  NESTVM_JIT_PROGRAMS: '2000',
};

/** Node scripts and their arguments, by the label of their summary in build/reports. */
const STEPS = {
  'nightly-fuzz': ['tools/workspace/verify.mjs', '--only', 'tests', '--label', 'nightly-fuzz', '--testTimeout=3600000', 'fuzz.test.ts'],
  'nightly-tests': [
    'tools/workspace/verify.mjs',
    '--only',
    'tests',
    '--label',
    'nightly-tests',
    '--testTimeout=3600000',
    '--exclude=**/*fuzz.test.ts',
  ],
  'nightly-sweep': ['node_modules/tsx/dist/cli.mjs', '--conditions=@nestvm/source', 'packages/decoder/test/full-sweep.ts'],
  'nightly-acpi': ['node_modules/tsx/dist/cli.mjs', '--conditions=@nestvm/source', 'tools/acpi/check.ts'],
  'nightly-docs': ['node_modules/typedoc/bin/typedoc'],
  'nightly-soak': ['node_modules/tsx/dist/cli.mjs', '--conditions=@nestvm/source', 'tools/soak/soak.ts', '--hours', '4', '--label', 'nightly-soak'],
  'nightly-guests': ['tools/guests/test.mjs', '--tier', 'all', '--jobs', '2', '--label', 'nightly-guests'],
};
/** Steps that keep no count of their own count as one each. */
const COUNTED_AS_ONE = ['nightly-sweep', 'nightly-acpi', 'nightly-docs'];

/** @param {readonly string[]} argv the steps that these arguments ask for */
function chosenSteps(argv) {
  const names = Object.keys(STEPS).map((label) => label.replace('nightly-', ''));
  if (argv.length === 0) return Object.entries(STEPS);
  const only = argv[0] === '--only' && argv.length === 2 ? argv[1].split(',') : [];
  if (only.length > 0 && only.every((name) => names.includes(name))) return Object.entries(STEPS).filter(([label]) => only.includes(label.slice(8)));
  process.stdout.write(`usage: nightly.mjs [--only NAME[,NAME]]; the steps are ${names.join(', ')}\n`);
  process.exit(argv.some((each) => /^--?h(elp)?$/.test(each)) ? 0 : 2);
}

const steps = chosenSteps(process.argv.slice(2));
for (const [label, command] of steps) {
  process.stdout.write(`… ${label}: node ${command.join(' ')}\n`);
  const { status } = spawnSync(process.execPath, command, { cwd: root, env: { ...childEnvironment(), ...FULL }, stdio: 'inherit' });
  if (!COUNTED_AS_ONE.includes(label)) continue;
  const failures = status === 0 ? [] : [{ name: command.join(' '), message: `it ended with status ${status}: see its output above` }];
  writeSummary(label, { passed: status === 0 ? 1 : 0, failed: failures.length, failures, flaky: [] });
}
const sum = spawnSync(process.execPath, ['tools/workspace/sum-reports.mjs', ...steps.map(([label]) => label)], { cwd: root, stdio: 'inherit' });
process.exitCode = sum.status ?? 1;
