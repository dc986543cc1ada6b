#!/usr/bin/env node
/**
 * Runs real guests on the emulator and looks at their consoles: `pnpm test:guests`.
 *
 * Usage: pnpm test:guests [--tier ci|nightly|all] [--only name,name] [--list] [--jobs N] [--label NAME] [--patience N]
 * Each console is kept in build/guests/logs/NAME.log. `--label` writes the counts to build/reports/summary-NAME.json, for tools/workspace/sum-reports.mjs.
 * Runs that failed, when they are few, are repeated once, one at a time; one that passes then counts as passed and is told as flaky. The consoles of its
 * first run are kept in build/guests/logs/first/.
 * `--patience N` gives each run N times as long before it counts as hung, for hosts that are busy with other things.
 * Ends with a line `N passed, N failed`; guests that cannot be built count as one failure.
 */
import { spawn } from 'node:child_process';
import { copyFileSync, createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PASSED_AGAIN, tailOf, tell, writeSummary } from '../workspace/summaries.mjs';
import { buildBootable } from './bootable.mjs';
import { buildGuests, defaultOutput } from './build.mjs';
import { scenarios } from './scenarios.mjs';
import { fetchOvmf } from './uefi.mjs';

const root = resolve(fileURLToPath(new URL('../../', import.meta.url)));
const logs = join(defaultOutput, 'logs');
/** More runs than these that fail are no accident. */
const MOST_REPEATED = 5;

/** The first line of `expect` that the console lacks, in order; undefined when all are there. */
function firstMissing(console_, expect) {
  let from = 0;
  for (const text of expect) {
    const at = console_.indexOf(text, from);
    if (at < 0) return text;
    from = at + text.length;
  }
  return undefined;
}

/** Runs one scenario; resolves to what went wrong, or undefined. */
function run(scenario, patience) {
  const path = (file) => join(defaultOutput, file);
  const args = [...scenario.arguments, '-nographic'];
  if (scenario.drives) args.push(...scenario.drives(path));
  else {
    const initrd = scenario.initrd ? scenario.initrd(path) : path(scenario.initramfs);
    args.push('-kernel', path(scenario.kernel ?? 'vmlinuz'), '-initrd', initrd, '-append', scenario.append);
  }
  if (scenario.firmware) args.push(...scenario.firmware(path));
  if (!scenario.reboots) args.push('-no-reboot');
  if (scenario.disk) {
    writeFileSync(path(scenario.disk.file), '');
    truncateSync(path(scenario.disk.file), scenario.disk.mebibytes * 2 ** 20);
    args.push('-drive', `file=${path(scenario.disk.file)},format=raw,if=none,id=disk`);
  }
  const child = spawn(process.execPath, [join(root, 'tools/workspace/nestvm.mjs'), 'run', ...args], { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] });
  const log = createWriteStream(join(logs, `${scenario.name}.log`));
  return new Promise((done) => {
    let output = '';
    let errors = '';
    const inputs = [scenario.input ?? []].flat();
    let from = 0;
    let late = false;
    const timer = setTimeout(
      () => {
        late = true;
        child.kill('SIGKILL');
      },
      scenario.timeoutMinutes * 60_000 * patience,
    );
    const onData = (data) => {
      output += data;
      log.write(data);
      const at = inputs.length === 0 ? -1 : output.indexOf(inputs[0].at, from);
      if (at < 0) return;
      from = at + inputs[0].at.length;
      child.stdin.write(inputs.shift().type);
    };
    child.stdout.on('data', onData);
    // What the emulator says of itself may come in the middle of a line of the guest.
    child.stderr.on('data', (data) => {
      errors += data;
      log.write(data);
    });
    child.stdin.on('error', () => {});
    child.on('close', (status, signal) => {
      clearTimeout(timer);
      const missing = firstMissing(output, scenario.expect) ?? scenario.somewhere?.find((text) => !output.includes(text));
      const unwanted = scenario.refuse?.find((text) => output.includes(text) || errors.includes(text));
      const problem = () => {
        if (late) return `no end after ${scenario.timeoutMinutes * patience} minutes${missing ? `, and no "${missing}"` : ''}`;
        if (missing) return `no "${missing}" on the console`;
        if (unwanted) return `"${unwanted}" on the console`;
        return status === (scenario.status ?? 0) ? undefined : `ended with ${signal ?? `status ${status}`}`;
      };
      log.end(() => done(problem()));
    });
  });
}

/** Runs one that is a script; resolves to what went wrong, or undefined. */
async function play({ name, play }) {
  try {
    await play((line) => console.log(`  ${name}: ${line}`));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Runs one and tells how it went; resolves to what went wrong, or undefined. */
async function report(scenario, patience) {
  const start = process.hrtime.bigint();
  const problem = scenario.play ? await play(scenario) : await run(scenario, patience);
  const seconds = (Number(process.hrtime.bigint() - start) / 1e9).toFixed(0);
  const log = join(logs, `${scenario.name}.log`);
  console.log(`${problem ? '✗' : '✓'} ${scenario.name} (${seconds} s)${problem ? `: ${problem}; console in ${log}` : ''}`);
  if (problem === undefined) return undefined;
  return {
    scenario,
    name: `guest ${scenario.name}`,
    message: existsSync(log) ? `${problem}; its console ends with\n${tailOf(readFileSync(log, 'utf8'))}` : problem,
  };
}

function refuse(why) {
  console.error(`test:guests: ${why}`);
  process.exit(2);
}

function chosen(values) {
  if (!values.only) return scenarios.filter(({ tier }) => values.tier === 'all' || tier === values.tier);
  return values.only.split(',').map((name) => {
    const found = scenarios.find((scenario) => scenario.name === name);
    if (!found) refuse(`there is no guest run named ${name}; --list shows them`);
    return found;
  });
}

/** Builds what the runs need; resolves to what is in the way, after saying it. */
function obstacle(queue) {
  try {
    const log = (line) => console.log(line);
    buildGuests({
      qemu: queue.some(({ initramfs }) => initramfs === 'nested-qemu.cpio'),
      qemuL3: queue.some(({ initramfs }) => initramfs === 'nested-qemu-l3.cpio'),
      xen: queue.some(({ kernel }) => kernel === 'xen'),
      cet: queue.some(({ kernel, initramfs }) => kernel === 'vmlinuz-cet' || initramfs === 'nested-cet.cpio'),
      full: queue.some(({ initramfs }) => initramfs === 'full.cpio'),
      l2Network: queue.some(({ initramfs }) => initramfs === 'nested-net.cpio'),
      soak: queue.some(({ initramfs }) => initramfs === 'soak.cpio'),
      virtio: queue.some(({ initramfs }) => initramfs === 'virtio.cpio'),
      log,
    });
    if (queue.some(({ uefi }) => uefi)) fetchOvmf(defaultOutput, log);
    if (queue.some(({ drives, uefi, bootable }) => bootable || (drives && !uefi))) buildBootable(defaultOutput, log);
    return undefined;
  } catch (error) {
    const problem = `the guests cannot be built on this machine (gcc and apt-get, with package lists, are needed): ${error.message}`;
    console.log(`✗ ${problem}`);
    return problem;
  }
}

/** Runs each that failed once more, when they are few; resolves to the names of those that passed then. */
async function repeat(failures, patience) {
  const passed = new Set();
  if (failures.length > MOST_REPEATED) return passed;
  const kept = join(logs, 'first');
  for (const { scenario } of failures) {
    console.log(`… ${scenario.name}: once more, alone; the first consoles are kept in ${kept}`);
    mkdirSync(kept, { recursive: true });
    for (const file of readdirSync(logs)) {
      if (file.startsWith(scenario.name) && file.endsWith('.log')) copyFileSync(join(logs, file), join(kept, file));
    }
    if ((await report(scenario, patience)) === undefined) passed.add(scenario.name);
  }
  return passed;
}

/** Runs the scenarios, `jobs` at a time; resolves to the summary. */
async function runAll(queue, jobs, patience) {
  mkdirSync(logs, { recursive: true });
  const count = queue.length;
  const found = [];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) found.push(await report(next, patience));
  };
  await Promise.all(Array.from({ length: Math.max(1, jobs) }, worker));
  const failed = found.filter((failure) => failure !== undefined);
  const passedLater = await repeat(failed, patience);
  const failures = [];
  const flaky = [];
  for (const { scenario, name, message } of failed) {
    if (passedLater.has(scenario.name)) flaky.push({ name, message, note: PASSED_AGAIN });
    else failures.push({ name, message });
  }
  return { passed: count - failures.length, failed: failures.length, failures, flaky };
}

const options = {
  tier: { type: 'string', default: 'ci' },
  only: { type: 'string' },
  list: { type: 'boolean' },
  jobs: { type: 'string', default: '1' },
  label: { type: 'string' },
  patience: { type: 'string', default: '1' },
  help: { type: 'boolean' },
};

const help = `pnpm test:guests [options]: real guests on the emulator, judged by their consoles

--tier T        ci, nightly or all (ci)
--only a,b      only these, of any tier
--list          their names, with their tiers
--jobs N        so many at a time (1)
--patience N    each may take N times as long before it counts as hung
--label NAME    also writes the counts to build/reports/summary-NAME.json
--help          this text

for example: pnpm test:guests --only kvm-intel-l2,kvm-amd-l2 --jobs 2`;

/** What was asked for; ends the process when it makes no sense. */
function askedFor() {
  try {
    return parseArgs({ options, args: process.argv.slice(2).filter((argument) => argument !== '--') }).values;
  } catch (error) {
    return refuse(`${error.message.split('. ')[0]}; --help lists the options, --list the guests`);
  }
}

async function main() {
  const values = askedFor();
  if (values.help) {
    console.log(help);
    return;
  }
  if (values.list) {
    for (const { name, tier } of scenarios) console.log(`${tier.padEnd(8)} ${name}`);
    return;
  }
  const queue = chosen(values);
  const problem = obstacle(queue);
  const summary =
    problem === undefined
      ? await runAll(queue, Number(values.jobs) || 1, Number(values.patience) || 1)
      : { passed: 0, failed: 1, failures: [{ name: 'guests', message: problem }], flaky: [] };
  if (values.label) writeSummary(String(values.label), summary);
  process.stdout.write(tell(summary));
  console.log(`${summary.passed} passed, ${summary.failed} failed`);
  process.exitCode = summary.failed === 0 && summary.passed > 0 ? 0 : 1;
}

await main();
