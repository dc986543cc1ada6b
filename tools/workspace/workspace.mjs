// @ts-check
/** What the workspace consists of: `layers.json`, the packages on disk, and where their source files are. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {{ layer?: string, imports: string[], tests?: string[], job: string, private?: boolean, planned?: boolean }} LayerEntry
 * @typedef {{ scope: string, layers: string[], packages: Record<string, LayerEntry>, apps: Record<string, LayerEntry> }} Layers
 * @typedef {{ key: string, name: string, folder: string, isApp: boolean, isPublished: boolean, entry: LayerEntry, manifest: Manifest }} Member
 * @typedef {Record<string, Record<string, string> | string>} Exports
 * @typedef {{ name: string, version: string, description?: string, private?: boolean, exports?: Exports, files?: string[], bin?: Record<string, string>, scripts?: Record<string, string>,
 *   dependencies?: Record<string, string>, devDependencies?: Record<string, string>, publishConfig?: { access?: string, exports?: Exports } }} Manifest
 */

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** The export condition that resolves to a package's sources inside this repository. */
export const SOURCE_CONDITION = '@nestvm/source';

/** @param {string} file path from the root */
export const readText = (file) => readFileSync(join(root, file), 'utf8');

/** @type {Layers} */
export const layers = JSON.parse(readText('layers.json'));

/** @param {'packages' | 'apps'} kind @returns {Member[]} */
function members(kind) {
  return Object.entries(layers[kind]).flatMap(([key, entry]) => {
    const folder = `${kind}/${key}`;
    if (!existsSync(join(root, folder, 'package.json'))) return [];
    const manifest = JSON.parse(readText(`${folder}/package.json`));
    const isApp = kind === 'apps';
    return [{ key, name: `${layers.scope}/${key}`, folder, isApp, isPublished: !isApp && entry.private !== true, entry, manifest }];
  });
}

/** The members of layers.json that exist on disk, packages first, in the order of layers.json. */
export const workspaceMembers = [...members('packages'), ...members('apps')];

/**
 * All files under a folder, as paths from the root, without what tools made.
 * @param {string} folder @returns {string[]}
 */
export function filesUnder(folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return /^(node_modules|dist|build|coverage|\..*)$/.test(entry.name) ? [] : filesUnder(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Sources that are published, as against tests, benches and examples. @param {string} file */
export const isShipped = (file) => /^(?:packages|apps)\/[^/]+\/src\//.test(file) && !/\.(?:test|bench)\.tsx?$/.test(file);

/** The `.ts` files of a member. @param {Member} member */
export const sourcesOf = (member) =>
  ['src', 'test', 'bench', 'examples'].flatMap((part) => filesUnder(`${member.folder}/${part}`)).filter((file) => /\.tsx?$/.test(file));

/** Entry points of a package in this repository: subpath → source file. @param {Member} member @returns {Map<string, string>} */
export function entryPoints(member) {
  const targets = Object.entries(member.manifest.exports ?? {}).flatMap(([subpath, target]) => {
    const source = typeof target === 'object' ? target[SOURCE_CONDITION] : undefined;
    return source === undefined ? [] : [/** @type {[string, string]} */ ([subpath, `${member.folder}/${source.replace(/^\.\//, '')}`])];
  });
  return new Map(targets);
}
