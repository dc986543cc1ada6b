import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { filesUnder, root, workspaceMembers } from './workspace.mjs';

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

it('finds the examples by the members of layers.json', () => {
  expect(workspaceMembers.filter((member) => member.isPublished).length).toBeGreaterThan(10);
});
