// @ts-check
/**
 * Holds the workspace to `layers.json`: the graph itself, every package.json (dependencies are exactly what the sources import, and no more
 * than layers.json allows), tsconfig references, and the diagram and tables in the documents. `--fix` writes what can be derived.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderDocuments } from './layer-documents.mjs';
import { expectedBuildConfig, expectedManifest, expectedTsconfig, importedMembers } from './member-files.mjs';
import { layers, readText, root, workspaceMembers } from './workspace.mjs';

const fix = process.argv.includes('--fix');
/** @type {string[]} */
const problems = [];
/** @type {string[]} */
const written = [];

/** Rules of the graph itself. */
function checkGraph() {
  const all = { ...layers.packages, ...layers.apps };
  const level = (/** @type {string} */ key) => layers.layers.indexOf(layers.apps[key] ? 'apps' : (layers.packages[key]?.layer ?? ''));
  for (const [key, entry] of Object.entries(all)) {
    if (level(key) < 0) problems.push(`layers.json: ${key} has the layer '${entry.layer}', which is not in "layers"`);
    for (const imported of [...entry.imports, ...(entry.tests ?? [])]) {
      if (!layers.packages[imported]) problems.push(`layers.json: ${key} lists '${imported}', which is not a package`);
      else if (level(imported) > level(key) && entry.imports.includes(imported))
        problems.push(`layers.json: ${key} (${entry.layer}) imports ${imported} from a higher layer`);
    }
    for (const both of (entry.tests ?? []).filter((name) => entry.imports.includes(name)))
      problems.push(`layers.json: ${key} lists ${both} in imports and again in tests`);
  }
  checkAcyclic(all);
}

/** Cycles through tests count: turbo and tsc -b order packages by all of their edges. @param {Record<string, import('./workspace.mjs').LayerEntry>} all */
function checkAcyclic(all) {
  /** @type {Map<string, 'open' | 'done'>} */
  const state = new Map();
  const visit = (/** @type {string} */ key, /** @type {string[]} */ path) => {
    if (state.get(key) === 'open') problems.push(`layers.json: cycle ${[...path.slice(path.indexOf(key)), key].join(' → ')}`);
    if (state.has(key)) return;
    state.set(key, 'open');
    for (const next of [...(all[key]?.imports ?? []), ...(all[key]?.tests ?? [])]) visit(next, [...path, key]);
    state.set(key, 'done');
  };
  for (const key of Object.keys(all)) visit(key, []);
}

/** Every folder is in layers.json, and everything in layers.json that is not planned is a folder. */
function checkFolders() {
  for (const kind of /** @type {const} */ (['packages', 'apps'])) {
    const folders = readdirSync(join(root, kind)).filter((name) => existsSync(join(root, kind, name, 'package.json')));
    for (const name of folders)
      if (!layers[kind][name]) problems.push(`${kind}/${name} is not in layers.json: add it with its layer, imports and job`);
    for (const [name, entry] of Object.entries(layers[kind])) {
      if (entry.planned && folders.includes(name))
        problems.push(`layers.json: ${name} is still marked as planned, but ${kind}/${name} exists: remove "planned"`);
      if (!entry.planned && !folders.includes(name)) problems.push(`layers.json: ${kind}/${name} does not exist: create it or mark it as planned`);
    }
  }
}

/** @param {string} file @param {string} expected @param {string} why */
function checkText(file, expected, why) {
  const actual = existsSync(join(root, file)) ? readText(file) : undefined;
  // JSON is compared by meaning (and order): its layout is the formatter's.
  const normal = (/** @type {string} */ text) => (file.endsWith('.json') ? JSON.stringify(JSON.parse(text), null, 2) : text);
  if (actual !== undefined && normal(actual) === normal(expected)) return;
  if (fix) {
    writeFileSync(join(root, file), expected);
    written.push(file);
  } else
    problems.push(
      `${file} ${actual === undefined ? 'is absent' : 'is out of date'} (${why}): run 'pnpm fix:layers'${actual === undefined ? '' : firstDifference(normal(actual), normal(expected))}`,
    );
}

/** @param {string} actual @param {string} expected */
function firstDifference(actual, expected) {
  const [before, after] = [actual.split('\n'), expected.split('\n')];
  const at = after.findIndex((line, index) => line !== before[index]);
  return at < 0
    ? `\n  line ${after.length + 1} and after: should not be there`
    : `\n  line ${at + 1} is      ${before[at] ?? '(end of file)'}\n  and should be ${after[at]}`;
}

/** Imports that layers.json does not allow; package.json files are derived from those that it does. */
function checkImports() {
  for (const member of workspaceMembers) {
    const { shipped, others } = importedMembers(member);
    for (const [name, file] of shipped) {
      if (!member.entry.imports.includes(name))
        problems.push(`${file} imports ${layers.scope}/${name}, which layers.json does not allow ${member.key} to import`);
    }
    for (const [name, file] of others) {
      const allowed = [...member.entry.imports, ...(member.entry.tests ?? []), member.key];
      if (!allowed.includes(name))
        problems.push(`${file} imports ${layers.scope}/${name}, which is neither in "imports" nor in "tests" of ${member.key} in layers.json`);
    }
  }
}

checkGraph();
checkFolders();
checkImports();
for (const member of workspaceMembers) {
  checkText(`${member.folder}/package.json`, expectedManifest(member), 'from layers.json and the imports of the sources');
  checkText(`${member.folder}/tsconfig.json`, expectedTsconfig(member), 'the same for every member');
  if (member.isPublished) checkText(`${member.folder}/tsconfig.build.json`, expectedBuildConfig(member), 'references are the imported packages');
}
for (const { file, text } of renderDocuments()) checkText(file, text, 'printed from layers.json');

if (written.length > 0) {
  spawnSync(join(root, 'node_modules/.bin/biome'), ['format', '--write', ...written.filter((file) => file.endsWith('.json'))], {
    cwd: root,
    stdio: ['ignore', 'ignore', 2],
  });
  process.stdout.write(`wrote ${written.join(', ')}\n`);
  if (written.some((file) => file.endsWith('package.json'))) process.stdout.write("dependencies may have changed: run 'pnpm install'\n");
}
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
