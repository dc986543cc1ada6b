// @ts-check
/**
 * Runs the command line from the checkout: bundles `apps/cli` from sources when a source is newer than the bundle, then runs
 * the bundle in this very process, so that arguments, standard streams, signals and the exit status are the program's own.
 * What V8 has compiled is kept beside the bundle: parsing megabytes of source takes longer than all else that happens before a guest runs.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cachedDataVersionTag, setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

const root = fileURLToPath(new URL('../../', import.meta.url));
// In the folder of the command line, so that what is not bundled (binaries of optional libraries) is found as from its own sources.
const folder = join(root, 'apps', 'cli', 'build');
const bundle = join(folder, 'nestvm.cjs');
const inputsFile = join(folder, 'nestvm.inputs.json');
const CACHE = '.code-cache';
const KEEP_AFTER_MS = 10_000;
/** What Node gives to modules. */
const WRAPPED = 'exports, require, module, __filename, __dirname';

/** Size and time of a file, or undefined when it is gone. @param {string} file */
function fingerprint(file) {
  // Not `join`: a thousand of them are asked for at every start.
  const stat = statSync(root + file, { throwIfNoEntry: false });
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

/**
 * Loads what only some runs use when it is first used: TLS, HTTP, WebSockets and the like of Node and of libraries take longer than the rest of the program. An
 * import of such a module is an object of which nothing but properties is asked for.
 */
const LAZY =
  'const lazily = (load) => { let loaded; return new Proxy({}, { get: (_, name) => (loaded ??= load())[name], has: (_, name) => name in (loaded ??= load()) }); };';
const RARE = ['child_process', 'crypto', 'dgram', 'dns', 'http', 'https', 'module', 'os', 'tls', 'zlib'];

/** @param {string} code */
const withLazyImports = (code) =>
  code.replace(/^var (import_\w+) = (__toESM\(require_\w+\(\), 1\)|require\("(?:node:)?(\w+)"\));$/gm, (line, name, load, builtin) =>
    builtin === undefined || RARE.includes(builtin) ? `var ${name} = lazily(() => ${load});` : line,
  );

/** Takes away what processes that were killed while they were bundling have left. */
function removeLeftovers() {
  for (const name of readdirSync(folder)) {
    const pid = Number(/^nestvm\.(\d+)\.tmp\./.exec(name)?.[1]);
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    rmSync(join(folder, name), { force: true });
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH';
  }
}

/** Bundles once; true when it worked, else the errors are on standard error. */
async function bundleOnce() {
  const { spawnSync } = await import('node:child_process');
  const startMs = Date.now();
  // A file that was saved while we were bundling may be in the bundle in either form: bundle again next time.
  const settledFingerprint = (/** @type {string} */ file) =>
    statSync(join(root, file)).mtimeMs < startMs ? fingerprint(file) : 'saved while bundling';
  const suffix = `${process.pid}.tmp`;
  const [outfile, metafile] = [join(folder, `nestvm.${suffix}.cjs`), join(folder, `nestvm.${suffix}.json`)];
  mkdirSync(folder, { recursive: true });
  removeLeftovers();
  const args = [
    'apps/cli/src/main.ts',
    '--bundle',
    '--platform=node',
    '--format=cjs',
    '--target=node20',
    '--define:import.meta.url=bundleUrl',
    `--banner:js=const main = (function (${WRAPPED}) { "use strict"; const bundleUrl = require('node:url').pathToFileURL(__filename).href; ${LAZY}`,
    // A script has the function as its value; as a module it runs. Put around it when it is read, the megabytes would be copied.
    `--footer:js=}); typeof module === 'undefined' ? main : main(${WRAPPED});`,
    '--conditions=@nestvm/source',
    '--sourcemap=linked',
  ];
  const options = [`--outfile=${outfile}`, `--metafile=${metafile}`, '--log-level=warning'];
  const esbuild = join(root, 'node_modules', 'esbuild', 'bin', 'esbuild');
  const built = existsSync(esbuild) && spawnSync(esbuild, [...args, ...options], { cwd: root, stdio: ['ignore', 2, 2] }).status === 0;
  if (built) {
    const inputs = withManifests(Object.keys(JSON.parse(readFileSync(metafile, 'utf8')).inputs));
    // Renames are atomic, so that commands started at the same time never see half a bundle.
    const code = withLazyImports(readFileSync(outfile, 'utf8')).replace(/\n\/\/# sourceMappingURL=.*\n?$/, '\n//# sourceMappingURL=nestvm.cjs.map\n');
    writeFileSync(outfile, code);
    writeFileSync(metafile, JSON.stringify(Object.fromEntries(inputs.map((file) => [file, settledFingerprint(file)])), null, 1));
    for (const name of readdirSync(folder)) if (name.endsWith(CACHE)) rmSync(join(folder, name), { force: true });
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
  if (existsSync(join(root, 'node_modules', 'esbuild')) && (await bundleOnce())) return;
  const setup = await import('./bootstrap.mjs');
  if (setup.isSetUp()) throw new Error('apps/cli does not bundle: see the errors above');
  setup.bootstrap();
  if (!(await bundleOnce())) throw new Error('apps/cli does not bundle: see the errors above');
}

/** Contents of a file; one that is there now may be gone when it is read: another command may be bundling. @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

/** Start of the names of files for what this very bundle has made under this Node. @param {string} what */
function keptFile(what) {
  const { size, mtimeMs } = statSync(bundle);
  return join(folder, `${what}-${process.version}-${process.arch}-${size}-${mtimeMs}`);
}

/** What V8 compiled of this very bundle in an earlier run under the same flags, of V8's own too: a profiler's run takes nothing from the others. @param {string} command */
const cacheFileFor = (command) => `${keptFile(command)}-${cachedDataVersionTag()}${CACHE}`;

/** CPU time of this process so far, in milliseconds. */
function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Bytes behind the code that is kept: the CPU time of the run that it is from. */
const TRAILER = 8;

/** The code that is kept, and the CPU time in milliseconds that the run had taken that compiled it. @param {string} file */
function readCode(file) {
  const bytes = readIfThere(file);
  if (bytes === undefined || bytes.length < TRAILER) return undefined;
  const end = bytes.length - TRAILER;
  return { code: bytes.subarray(0, end), ms: bytes.readDoubleLE(end) };
}

/** Keeps the code that has been compiled by now; without it all goes on, only slower. @param {Script} script @param {string} file */
function keepCode(script, file) {
  const temporary = `${file}.${process.pid}`;
  const trailer = Buffer.alloc(TRAILER);
  trailer.writeDoubleLE(cpuMs());
  try {
    writeFileSync(temporary, Buffer.concat([script.createCachedData(), trailer]));
    renameSync(temporary, file);
  } catch {
    rmSync(temporary, { force: true });
  }
}

/**
 * Keeps the code at the end, or when most of what a run needs has been compiled: many a machine is ended by killing it. What there is already stays unless it is from a run
 * that was over much sooner, and has not compiled what this one has: `keptMs` is its CPU time.
 * @param {Script} script @param {string} file @param {number} keptMs
 */
function keepLater(script, file, keptMs) {
  let isOver = false;
  const keep = () => {
    if (!isOver && cpuMs() > 2 * keptMs) keepCode(script, file);
    isOver = true;
  };
  setTimeout(keep, KEEP_AFTER_MS).unref();
  process.on('exit', keep);
}

/** For tests: `NESTVM_JIT` (off, on, force, mixed) says how machines run whose command line has no `-accel`. */
function chooseJit() {
  const mode = process.env['NESTVM_JIT'];
  if (!mode || process.argv[2] !== 'run' || process.argv.some((argument) => /^--?accel$/.test(argument))) return;
  process.argv.push('-accel', `tcg,jit=${mode}`);
}

function run() {
  chooseJit();
  const file = process.execArgv.length === 0 ? cacheFileFor(process.argv[2] === 'run' ? 'run' : 'other') : undefined;
  const kept = file === undefined ? undefined : readCode(file);
  // esbuild writes ASCII.
  const script = new Script(readFileSync(bundle, 'latin1'), { filename: bundle, ...(kept === undefined ? {} : { cachedData: kept.code }) });
  if (file !== undefined) keepLater(script, file, kept === undefined || script.cachedDataRejected ? 0 : kept.ms);
  process.argv[1] = bundle;
  // The bundle keeps code for guests there, in files with the same ending.
  process.env['NESTVM_KEPT_CODE'] = keptFile('kept');
  const module = { exports: {} };
  script.runInThisContext()(module.exports, createRequire(bundle), module, bundle, folder);
}

// Most of what is made at the start stays: copying it between small spaces for young objects again and again is a fifth of the time till a guest runs.
setFlagsFromString('--semi-space-growth-factor=16');
// Most of what runs often at the start has not yet seen all that it will: optimised as early as Node 20 would, it is optimised again and again, a fifth of a kernel's boot.
// Newer engines have a compiler between, and count otherwise; they complain of flags that they do not know.
if (process.versions.v8.startsWith('11.')) {
  setFlagsFromString('--interrupt-budget=250000');
  // Our functions are small and many: with all of them in each other, a quarter of the time that optimising takes goes into code that runs no faster.
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=300');
}
try {
  await prepare();
} catch (error) {
  process.stderr.write(`nestvm: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(2);
}
run();
