// @ts-check
/**
 * Sets the checkout up and then runs a task: `node tools/workspace/bootstrap.mjs [start|test|run COMMAND…]`.
 * Needs nothing but Node and npm: the pinned pnpm goes to `.tools/`, nothing is installed globally.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const toolsFolder = join(root, '.tools');
const stampFile = join(root, 'node_modules', '.nestvm-setup');
/** @type {{ packageManager: string, config: { ltsNode: string } }} */
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** A failure that is worth one line, not a stack. */
export class SetupError extends Error {}

/** Progress goes to stderr, so that the output of the task stays clean. @param {string} line */
const say = (line) => process.stderr.write(`setup: ${line}\n`);

const MINIMUM_NODE = 20;
const nodeMajor = Number(process.versions.node.split('.')[0]);
if (nodeMajor < MINIMUM_NODE) {
  say(`Node ${process.versions.node} is too old: install Node ${MINIMUM_NODE} or newer`);
  process.exit(2);
}

/** The environment of every child: the pinned pnpm and this very Node come first. */
export function childEnvironment() {
  const path = [join(toolsFolder, 'node_modules', '.bin'), dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter);
  return { ...process.env, PATH: path, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1' };
}

/**
 * Runs a program to its end with our standard error as its output; throws SetupError when it fails.
 * @param {string} what @param {string} command @param {string[]} args
 */
function mustRun(what, command, args) {
  const result = spawnSync(command, args, { cwd: root, env: childEnvironment(), stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (result.error) throw new SetupError(`${what}: cannot start ${command} (${result.error.message}): is it installed and on PATH?`);
  if (result.status !== 0) throw new SetupError(`${what} failed with status ${result.status ?? result.signal}: see the lines above`);
}

/**
 * Installs one npm package into a folder of its own, without touching anything else on the machine.
 * @param {string} folder @param {string} specifier
 */
export function installTool(folder, specifier) {
  mkdirSync(folder, { recursive: true });
  if (!existsSync(join(folder, 'package.json'))) writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  mustRun(`installing ${specifier}`, 'npm', ['install', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel=error', specifier]);
}

/** Path of the pinned pnpm's script, installed when it is absent or of another version. */
function ensurePnpm() {
  const version = manifest.packageManager.replace(/^pnpm@/, '').replace(/\+.*$/, '');
  const folder = join(toolsFolder, 'node_modules', 'pnpm');
  const installed = existsSync(join(folder, 'package.json')) ? JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version : undefined;
  if (installed !== version) {
    say(`bringing pnpm ${version} into .tools/`);
    installTool(toolsFolder, `pnpm@${version}`);
  }
  return join(folder, 'bin', 'pnpm.cjs');
}

/** What the installed dependencies depend on: the lockfile, the pinned pnpm and the workspace's settings. */
function stamp() {
  const hash = createHash('sha256').update(manifest.packageManager);
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml']) hash.update(readFileSync(join(root, file)));
  return hash.digest('hex');
}

/** True when the dependencies that the lockfile asks for are the installed ones. */
export const isSetUp = () =>
  existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp() && existsSync(join(toolsFolder, 'node_modules', 'pnpm'));

/** Brings pnpm and the dependencies; returns at once when they are there. */
export function bootstrap() {
  if (isSetUp()) return;
  const pnpm = ensurePnpm();
  say('installing dependencies from pnpm-lock.yaml');
  mustRun('pnpm install', process.execPath, [pnpm, 'install', '--frozen-lockfile', '--reporter=append-only']);
  writeFileSync(stampFile, stamp());
}

/**
 * Folder of the `node` binary of the newest LTS line (pinned in package.json), brought through the npm package `node`.
 * @returns {string}
 */
export function ensureLtsNode() {
  const version = manifest.config.ltsNode;
  const folder = join(toolsFolder, `node-${version}`);
  const candidates = ['node', `node-${process.platform}-${process.arch}`];
  const found = () => candidates.map((name) => join(folder, 'node_modules', name, 'bin', 'node')).find((file) => existsSync(file));
  if (!found()) {
    say(`bringing Node ${version} into .tools/`);
    installTool(folder, `node@${version}`);
    // The package's install script fetches the binary's package; where npm does not run scripts, ask for that package itself.
    if (!found()) installTool(folder, `${candidates[1]}@${version}`);
  }
  const binary = found();
  if (!binary) throw new SetupError(`Node ${version} has no binary for ${process.platform}-${process.arch} in the npm registry`);
  return dirname(binary);
}

/**
 * Goes on as another script in this very process, so that signals, the terminal and the exit status are its own.
 * @param {string} name @param {string[]} args
 */
async function become(name, args) {
  process.argv.splice(1, Infinity, join(root, 'tools/workspace', name), ...args);
  await import(new URL(name, import.meta.url).href);
}

/** @param {string[]} argv */
async function main([task = 'install', ...args]) {
  bootstrap();
  switch (task) {
    case 'install':
      return;
    case 'start':
      return become('nestvm.mjs', ['demo', ...args]);
    case 'test':
      return become('verify.mjs', args);
    case 'lts-node':
      process.stdout.write(`${ensureLtsNode()}\n`);
      return;
    default:
      throw new SetupError(`unknown task '${task}': it is one of install, start, test, lts-node`);
  }
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  // Not awaited at the top level: the scripts that it goes on as import this module, and would wait for it for ever.
  main(process.argv.slice(2)).catch((/** @type {unknown} */ error) => {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 2;
  });
}
