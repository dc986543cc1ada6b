// @ts-check
/** What the package.json, tsconfig.json and tsconfig.build.json of a member must contain, derived from `layers.json` and from the imports of its sources. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { isShipped, layers, readText, root, SOURCE_CONDITION, sourcesOf } from './workspace.mjs';

/** @typedef {import('./workspace.mjs').Member} Member */
/** @typedef {import('./workspace.mjs').Manifest} Manifest */
/** @typedef {import('./workspace.mjs').Exports} Exports */

/**
 * The workspace packages that a member imports → the first file that does: from shipped sources, and from tests, benches and examples.
 * @param {Member} member @returns {{ shipped: Map<string, string>, others: Map<string, string> }}
 */
export function importedMembers(member) {
  const found = { shipped: new Map(), others: new Map() };
  for (const file of sourcesOf(member)) {
    const into = isShipped(file) ? found.shipped : found.others;
    for (const { fileName } of ts.preProcessFile(readText(file), true, true).importedFiles) {
      const [scope, name] = fileName.split('/');
      if (scope === layers.scope && name !== undefined && !into.has(name)) into.set(name, file);
    }
  }
  return found;
}

/** @param {Iterable<string>} names in the order of layers.json */
const inLayerOrder = (names) => {
  const wanted = new Set(names);
  return Object.keys(layers.packages).filter((key) => wanted.has(key));
};

/**
 * Workspace dependencies as given, foreign ones kept.
 * @param {Record<string, string> | undefined} current @param {string[]} names @returns {Record<string, string> | undefined} nothing when empty
 */
function dependencies(current, names) {
  const foreign = Object.entries(current ?? {}).filter(([name]) => !name.startsWith(`${layers.scope}/`));
  const all = [...names.map((name) => [`${layers.scope}/${name}`, 'workspace:*']), ...foreign];
  return all.length === 0 ? undefined : Object.fromEntries(all);
}

/**
 * The same entry points without the condition that only resolves inside this repository.
 * @param {Exports} exports @returns {Exports}
 */
function publishedExports(exports) {
  const strip = (/** @type {Record<string, string>} */ target) =>
    Object.fromEntries(Object.entries(target).filter(([condition]) => condition !== SOURCE_CONDITION));
  return Object.fromEntries(Object.entries(exports).map(([subpath, target]) => [subpath, typeof target === 'string' ? target : strip(target)]));
}

/** An entry point's three targets, derived from its source. @param {Exports} exports @returns {Exports} */
function expectedExports(exports) {
  return Object.fromEntries(
    Object.entries(exports).map(([subpath, target]) => {
      const source = typeof target === 'object' ? target[SOURCE_CONDITION] : undefined;
      if (source === undefined) return [subpath, target];
      const built = source.replace(/^\.\/src\//, './dist/').replace(/\.ts$/, '');
      return [subpath, { [SOURCE_CONDITION]: source, types: `${built}.d.ts`, import: `${built}.js` }];
    }),
  );
}

/**
 * The package.json that a member should have, as JSON text. What is not derived (version, exports' subpaths, foreign dependencies, bin) is kept.
 * @param {Member} member
 */
export function expectedManifest(member) {
  const { manifest, entry } = member;
  const { shipped, others } = importedMembers(member);
  const testOnly = inLayerOrder([...others.keys()].filter((name) => !shipped.has(name) && name !== member.key));
  const exports = manifest.exports && expectedExports(manifest.exports);
  const derived = {
    name: member.name,
    version: manifest.version,
    description: entry.job,
    license: 'MIT',
    type: 'module',
    ...(member.isPublished ? { sideEffects: false, engines: { node: '>=20' } } : { private: true }),
    exports,
    files: member.isPublished ? ['dist', '!dist/types.tsbuildinfo'] : manifest.files,
    scripts: member.isPublished ? { ...manifest.scripts, build: 'tsup && tsc -b tsconfig.build.json' } : manifest.scripts,
    dependencies: dependencies(manifest.dependencies, inLayerOrder(shipped.keys())),
    devDependencies: dependencies(manifest.devDependencies, testOnly),
    publishConfig: member.isPublished && exports ? { access: 'public', exports: publishedExports(exports) } : undefined,
  };
  const kept = Object.fromEntries(
    Object.entries(manifest).filter(([key]) => !(key in derived) && key !== 'private' && key !== 'sideEffects' && key !== 'engines'),
  );
  return `${JSON.stringify({ ...derived, ...kept }, null, 2)}\n`;
}

/**
 * The tsconfig.json that a member should have: everything in it, tests included, checked against the sources of other packages.
 * Whatever compilerOptions it adds are kept.
 * @param {Member} member
 */
export function expectedTsconfig(member) {
  const file = `${member.folder}/tsconfig.json`;
  const { compilerOptions } = existsSync(join(root, file)) ? (ts.parseConfigFileTextToJson(file, readText(file)).config ?? {}) : {};
  return `${JSON.stringify({ extends: '../../tsconfig.base.json', compilerOptions, include: ['src', 'test', 'bench', 'examples'] }, null, 2)}\n`;
}

/**
 * The tsconfig.build.json of a published package: its shipped sources, compiled against the declarations of the packages that it references,
 * and of no others: an import that is not a reference does not compile.
 * @param {Member} member
 */
export function expectedBuildConfig(member) {
  const config = {
    extends: '../../tsconfig.base.json',
    compilerOptions: {
      noEmit: false,
      composite: true,
      emitDeclarationOnly: true,
      rootDir: 'src',
      outDir: 'dist',
      tsBuildInfoFile: 'dist/types.tsbuildinfo',
    },
    include: ['src'],
    exclude: ['src/**/*.test.ts'],
    references: inLayerOrder(importedMembers(member).shipped.keys()).map((name) => ({ path: `../${name}/tsconfig.build.json` })),
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
