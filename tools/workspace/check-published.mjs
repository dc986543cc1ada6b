// @ts-check
/**
 * Packs every published package as `pnpm publish` would and examines the tarball: publint (strict) for the manifest against the files,
 * attw for how TypeScript resolves each entry point from ESM and from bundlers. Needs the packages built.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { childEnvironment } from './bootstrap.mjs';
import { root, SOURCE_CONDITION, workspaceMembers } from './workspace.mjs';

/** Packages are ESM only, for Node 20 and bundlers: what only CommonJS callers and the resolution of TypeScript 4 see does not count. */
const COUNTED_RESOLUTIONS = new Set(['node16-esm', 'bundler']);
const packs = join(root, 'build', 'packs');

/** @typedef {import('./workspace.mjs').Member} Member */

/** @param {Member} member @returns {Promise<Buffer>} the tarball */
async function pack(member) {
  const file = join(packs, `${member.key}.tgz`);
  await promisify(execFile)('pnpm', ['pack', '--out', file], { cwd: join(root, member.folder), env: childEnvironment() });
  return readFileSync(file);
}

/** @param {Member} member @param {Buffer} tarball @returns {Promise<string[]>} */
async function publintProblems(member, tarball) {
  const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(tarball).buffer }, strict: true, level: 'warning' });
  return messages.map((message) => `${member.name}: publint: ${formatMessage(message, pkg, { color: false }) ?? message.code}`);
}

/** @param {Member} member @param {Buffer} tarball @returns {Promise<string[]>} */
async function attwProblems(member, tarball) {
  const result = await checkPackage(createPackageFromTarballData(new Uint8Array(tarball)));
  if (result.types === false) return [`${member.name}: attw: there are no types in it`];
  const counted = result.problems.filter((problem) => !('resolutionKind' in problem) || COUNTED_RESOLUTIONS.has(problem.resolutionKind));
  return counted.map((problem) => `${member.name}: attw: ${JSON.stringify(problem)}`);
}

/** What a stranger's import must not find. @param {Member} member @param {Buffer} tarball @returns {string[]} */
function leaks(member, tarball) {
  const packed = createPackageFromTarballData(new Uint8Array(tarball));
  const manifest = packed.readFile(`/node_modules/${member.name}/package.json`);
  const files = packed.listFiles().map((file) => file.replace(`/node_modules/${member.name}/`, ''));
  const absent = ['LICENSE', 'README.md'].filter((file) => !files.includes(file));
  return [
    // As a key: scripts may name it, since nobody but the workspace runs them.
    ...(manifest.includes(`"${SOURCE_CONDITION}":`) ? [`${member.name}: its packed package.json has the condition ${SOURCE_CONDITION}`] : []),
    ...(manifest.includes('workspace:') ? [`${member.name}: its packed package.json has a workspace: version`] : []),
    ...files.filter((file) => /\.test\.|tsbuildinfo/.test(file)).map((file) => `${member.name}: ${file} is packed and should not be`),
    ...absent.map((file) => `${member.name}: ${file} is not packed`),
  ];
}

rmSync(packs, { recursive: true, force: true });
mkdirSync(packs, { recursive: true });
const published = workspaceMembers.filter((member) => member.isPublished);
/** @type {string[]} */
const found = [];
const waiting = [...published];
const worker = async () => {
  for (let member = waiting.shift(); member; member = waiting.shift()) {
    const tarball = await pack(member);
    found.push(...(await publintProblems(member, tarball)), ...(await attwProblems(member, tarball)), ...leaks(member, tarball));
  }
};
// Each is a process: as many at once as there are processors, or a machine with little memory has too many.
await Promise.all(Array.from({ length: availableParallelism() }, worker));
for (const problem of found) process.stderr.write(`${problem}\n`);
process.stdout.write(`${published.length} packages packed and examined, ${found.length} problems\n`);
process.exitCode = found.length === 0 ? 0 : 1;
