import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { filesUnder, readText, root, workspaceMembers } from './workspace.mjs';

/** Every example of a published package. That each package has one is for check-readmes to say. */
const examples = workspaceMembers
  .filter((member) => member.isPublished)
  .flatMap((member) => filesUnder(`${member.folder}/examples`))
  .filter((file) => file.endsWith('.ts'));

/** Runs one example: it must end without throwing. */
const run = (file: string): Promise<unknown> => import(/* @vite-ignore */ pathToFileURL(resolve(root, file)).href);

it.runIf(examples.length > 0).each(examples)('%s runs', async (file) => {
  await expect(run(file)).resolves.toBeDefined();
});

it.each(['docs/how-to/write-an-emulator.md'])('%s shows code that runs', (page) => {
  const text = readText(page);
  const example = readText(/`(packages\/[^`]+\/examples\/[^`]+\.ts)`/.exec(text)![1]!);
  const pieces = [...text.matchAll(/```ts\n(.*?)\n```/gs)].map((match) => match[1]!);
  expect(pieces.length).toBeGreaterThan(2);
  for (const piece of pieces) expect(example).toContain(piece);
});

it('finds the examples by the members of layers.json', () => {
  expect(workspaceMembers.filter((member) => member.isPublished).length).toBeGreaterThan(10);
});
