// The API reference: one module for each entry point that a package's package.json declares, under its import name.
import { entryPoints, root, workspaceMembers } from './tools/workspace/workspace.mjs';

/** @type {import('typedoc').TypeDocOptions} */
export default {
  name: 'Nestvm',
  entryPointStrategy: 'resolve',
  entryPoints: workspaceMembers
    .filter((member) => member.isPublished)
    .flatMap((member) => [...entryPoints(member).values()].map((file) => `${root}${file}`)),
  plugin: ['./tools/workspace/typedoc-names.mjs'],
  tsconfig: 'tsconfig.json',
  out: 'docs/reference/api',
  readme: 'README.md',
  excludeInternal: true,
  excludePrivate: true,
  hideGenerator: true,
  includeVersion: false,
  // Types of one package that another's signatures name are documented where they are declared.
  validation: { notExported: false, invalidLink: true, notDocumented: false },
  treatValidationWarningsAsErrors: true,
};
