import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { filesUnder, root, workspaceMembers } from './workspace.mjs';

/** Runs one example: it must end without throwing. Examples print with console.log and assert what they show. */
const runExample = (file: string): Promise<unknown> => import(/* @vite-ignore */ pathToFileURL(resolve(root, file)).href);

describe.each(workspaceMembers.filter((member) => member.isPublished))('$name', (member) => {
  const examples = filesUnder(`${member.folder}/examples`).filter((file) => file.endsWith('.ts'));
  it.each(examples)('%s runs', async (file) => {
    await expect(runExample(file)).resolves.toBeDefined();
  });
});
