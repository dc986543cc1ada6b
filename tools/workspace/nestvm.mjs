// @ts-check
/**
 * Runs the command line from the checkout: bundles `apps/cli` from sources when a source is newer than the bundle, then imports
 * the bundle into this very process, so that arguments, standard streams, signals and the exit status are the program's own.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
// In the folder of the command line, so that what is not bundled (binaries of optional libraries) is found as from its own sources.
const folder = join(root, 'apps', 'cli', 'build');
const bundle = join(folder, 'nestvm.mjs');
const inputsFile = join(folder, 'nestvm.inputs.json');

/** Size and time of a file, or undefined when it is gone. @param {string} file */
function fingerprint(file) {
  const stat = statSync(join(root, file), { throwIfNoEntry: false });
  return stat && `${stat.size}:${stat.mtimeMs}`;
}

/** True when the bundle was made from exactly the files that are there now. */
function isCurrent() {
  if (!existsSync(bundle) || !existsSync(inputsFile)) return false;
  /** @type {Record<string, string>} */
  const inputs = JSON.parse(readFileSync(inputsFile, 'utf8'));
  return Object.entries(inputs).every(([file, print]) => fingerprint(file) === print);
}

/**
 * Package manifests take part in resolution but are no inputs of the bundle.
 * @param {string[]} inputs
 */
function withManifests(inputs) {
  const folders = new Set(inputs.map((file) => /^(?:packages|apps)\/[^/]+/.exec(file)?.[0]).filter((folder) => folder !== undefined));
  return [...inputs, ...[...folders].map((folder) => `${folder}/package.json`), 'tools/workspace/nestvm.mjs'];
}

/** Bundles once; true when it worked, else the errors are on standard error. */
function bundleOnce() {
  const startMs = Date.now();
  // A file that was saved while we were bundling may be in the bundle in either form: bundle again next time.
  const settledFingerprint = (/** @type {string} */ file) =>
    statSync(join(root, file)).mtimeMs < startMs ? fingerprint(file) : 'saved while bundling';
  const suffix = `${process.pid}.tmp`;
  const [outfile, metafile] = [join(folder, `nestvm.${suffix}.mjs`), join(folder, `nestvm.${suffix}.json`)];
  mkdirSync(folder, { recursive: true });
  const args = [
    'apps/cli/src/main.ts',
    '--bundle',
    '--platform=node',
    '--format=esm',
    '--target=node20',
    // Libraries in CommonJS ask for Node's own modules by `require`.
    "--banner:js=import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    '--conditions=@nestvm/source',
    '--sourcemap=linked',
  ];
  const options = [`--outfile=${outfile}`, `--metafile=${metafile}`, '--log-level=warning', '--log-override:empty-import-meta=silent'];
  const esbuild = join(root, 'node_modules', 'esbuild', 'bin', 'esbuild');
  const built = existsSync(esbuild) && spawnSync(esbuild, [...args, ...options], { cwd: root, stdio: ['ignore', 2, 2] }).status === 0;
  if (built) {
    const inputs = withManifests(Object.keys(JSON.parse(readFileSync(metafile, 'utf8')).inputs));
    // Renames are atomic, so that commands started at the same time never see half a bundle.
    const code = readFileSync(outfile, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n//# sourceMappingURL=nestvm.mjs.map\n');
    writeFileSync(outfile, code);
    writeFileSync(metafile, JSON.stringify(Object.fromEntries(inputs.map((file) => [file, settledFingerprint(file)])), null, 1));
    renameSync(`${outfile}.map`, `${bundle}.map`);
    renameSync(outfile, bundle);
    renameSync(metafile, inputsFile);
  }
  for (const leftover of [outfile, `${outfile}.map`, metafile]) rmSync(leftover, { force: true });
  return built;
}

/** Brings the bundle up to date, and the dependencies first where they are missing. */
async function prepare() {
  if (isCurrent()) return;
  if (existsSync(join(root, 'node_modules', 'esbuild')) && bundleOnce()) return;
  const setup = await import('./bootstrap.mjs');
  if (setup.isSetUp()) throw new Error('apps/cli does not bundle: see the errors above');
  setup.bootstrap();
  if (!bundleOnce()) throw new Error('apps/cli does not bundle: see the errors above');
}

try {
  await prepare();
} catch (error) {
  process.stderr.write(`nestvm: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}
process.argv[1] = bundle;
await import(pathToFileURL(bundle).href);
