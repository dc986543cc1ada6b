// @ts-check
/**
 * Lengths and names. A file has at most 300 lines (a warning up to 500, an error above), a function of shipped code at most 40 (an error above 80);
 * tables are exempt. Names are kebab-case and never one of the words that mean "everything else".
 */
import { basename } from 'node:path';
import ts from 'typescript';
import { filesUnder, isShipped, readText } from './workspace.mjs';

const FILE_LINES = { budget: 300, limit: 500 };
const FUNCTION_LINES = { budget: 40, limit: 80 };

/** Files that are data, line after line of the manual: they are as long as the manual is. */
const TABLES = [
  /^packages\/isa\/src\/(?:maps|models|registers|events)\//,
  /^packages\/(?:vmx|svm)\/src\/(?:fields|controls|checks|vmcb|intercepts)\//,
  /(?:^|\/)(?:tables?|data)\/[^/]+\.(?:ts|mjs)$/,
  /-(?:table|rows|tables)\.(?:ts|mjs)$/,
];

const FORBIDDEN_NAMES = new Set(['core', 'common', 'utils', 'util', 'base', 'shared', 'helpers', 'helper', 'misc']);

const files = ['packages', 'apps', 'tools'].flatMap(filesUnder).filter((file) => /\.(?:ts|tsx|mjs)$/.test(file));
/** @type {{ errors: string[], warnings: string[] }} */
const found = { errors: [], warnings: [] };

/** @param {string} where @param {number} lines @param {{ budget: number, limit: number }} allowed @param {string} advice */
function judge(where, lines, allowed, advice) {
  if (lines > allowed.limit) found.errors.push(`${where}: ${lines} lines, the limit is ${allowed.limit}: ${advice}`);
  else if (lines > allowed.budget) found.warnings.push(`${where}: ${lines} lines, the budget is ${allowed.budget}`);
}

/** @param {ts.Node} node */
function functionName(node) {
  const named = /** @type {{ name?: ts.Node }} */ (node).name ?? /** @type {{ name?: ts.Node }} */ (node.parent).name;
  return named && ts.isIdentifier(named) ? named.text : '(anonymous)';
}

/** @param {string} file @param {string} text */
function checkFunctions(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineOf = (/** @type {number} */ position) => source.getLineAndCharacterOfPosition(position).line + 1;
  const visit = (/** @type {ts.Node} */ node) => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const [first, last] = [lineOf(node.getStart(source)), lineOf(node.getEnd())];
      judge(`${file}:${first} ${functionName(node)}`, last - first + 1, FUNCTION_LINES, 'split it by what it does');
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
}

/** @param {string} file */
function checkName(file) {
  for (const part of file.split('/').slice(1)) {
    const stem = part.replace(/\..*$/, '');
    if (FORBIDDEN_NAMES.has(stem)) found.errors.push(`${file}: '${stem}' says nothing: name it after its concept`);
    if (!/^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(stem)) found.errors.push(`${file}: '${stem}' is not kebab-case`);
  }
}

for (const file of files) {
  checkName(file);
  if (TABLES.some((pattern) => pattern.test(file))) continue;
  const text = readText(file);
  judge(file, text.split('\n').length - 1, FILE_LINES, 'split it by concept');
  if (isShipped(file) || file.startsWith('tools/')) checkFunctions(file, text);
}

for (const warning of found.warnings) process.stdout.write(`warning: ${warning}\n`);
for (const error of found.errors) process.stderr.write(`error: ${error}\n`);
process.stdout.write(
  `${basename(import.meta.url)}: ${files.length} files, ${found.errors.length} over a limit, ${found.warnings.length} over a budget\n`,
);
process.exitCode = found.errors.length === 0 ? 0 : 1;
