// @ts-check
/**
 * Every published package has a README in the one order that readers know, and the example in it is a piece of a file in `examples/`
 * (which a test runs), so that it cannot rot.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { filesUnder, readText, root, workspaceMembers } from './workspace.mjs';

/** The parts in their order; each is a heading or a line that starts in bold. */
const PARTS = [
  { name: 'Owns / Does not own', pattern: /^(?:#+ |\*\*|\| ?\**)\s*Owns/i },
  { name: 'Install', pattern: /^#+ .*install/i },
  { name: 'Example', pattern: /^#+ .*example/i },
  { name: 'API', pattern: /^#+ .*API/ },
  { name: 'Change it here', pattern: /^#+ .*change it here/i },
  { name: 'Limits', pattern: /^#+ .*limits/i },
];
const EXAMPLE_LINES = 15;

/** @param {string} text */
const squeeze = (text) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');

/** @param {string} file @param {string} text @returns {string[]} */
function orderProblems(file, text) {
  const lines = text.split('\n');
  const places = PARTS.map((part) => ({ ...part, at: lines.findIndex((line) => part.pattern.test(line)) }));
  const absent = places.filter((part) => part.at < 0).map((part) => `${file}: the part '${part.name}' is absent`);
  const present = places.filter((part) => part.at >= 0);
  const misplaced = present.flatMap((part, index) => {
    const before = present[index - 1];
    return before && before.at > part.at
      ? [`${file}:${part.at + 1}: '${part.name}' comes before '${before.name}'; the order is ${PARTS.map((p) => p.name).join(', ')}`]
      : [];
  });
  return [...absent, ...misplaced];
}

/** @param {string} folder @param {string} file @param {string} text @returns {string[]} */
function exampleProblems(folder, file, text) {
  const examples = filesUnder(`${folder}/examples`).filter((name) => name.endsWith('.ts'));
  if (examples.length === 0) return [`${folder}/examples: there is no example`];
  const block = /```ts\n([\s\S]*?)```/.exec(text)?.[1];
  if (block === undefined) return [`${file}: there is no \`\`\`ts example`];
  const lines = block.trimEnd().split('\n').length;
  if (lines > EXAMPLE_LINES) return [`${file}: the example has ${lines} lines, at most ${EXAMPLE_LINES} are read`];
  if (examples.some((name) => squeeze(readText(name)).includes(squeeze(block)))) return [];
  return [`${file}: the example is not a piece of ${examples.join(' or ')}: copy it from there`];
}

const problems = workspaceMembers
  .filter((member) => member.isPublished)
  .flatMap((member) => {
    const file = `${member.folder}/README.md`;
    if (!existsSync(join(root, file))) return [`${file}: absent`];
    const text = readText(file);
    return [...orderProblems(file, text), ...exampleProblems(member.folder, file, text)];
  });

for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
