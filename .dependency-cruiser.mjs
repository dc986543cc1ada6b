// Boundaries, generated from layers.json: nothing here names a package.
import { entryPoints, layers, workspaceMembers } from './tools/workspace/workspace.mjs';

/**
 * Known type-only cycles (docs/explanation/architecture.md, "Known couplings"): files that own parts which name them in return, as a type.
 * - The vCPU makes its registries, cursors and ports, and each of them takes the whole vCPU; to narrow them is a change to most of the package.
 */
const KNOWN_TYPE_ONLY_HUBS = ['^packages/cpu/src/vcpu\\.ts$'];

/** Text as a regular expression that matches only it. */
const literal = (text) => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
const folderOf = (key) => (layers.apps[key] ? `apps/${key}` : `packages/${key}`);
const anyOf = (folders) => `^(?:${folders.map(literal).join('|')})/`;

/** Shipped sources of a member import what layers.json allows. */
const shippedRule = ({ key, folder, entry }) => ({
  name: `layers-${key}`,
  comment: `${key} may import ${entry.imports.join(', ') || 'no other package'} (layers.json)`,
  severity: 'error',
  from: { path: `^${literal(folder)}/src/`, pathNot: '\\.test\\.tsx?$' },
  to: { path: '^(?:packages|apps|tools)/', pathNot: anyOf([folder, ...entry.imports.map(folderOf)]) },
});

/** Tests, benches and examples may import a little more. */
const testRule = ({ key, folder, entry }) => ({
  name: `layers-${key}-tests`,
  comment: `tests of ${key} may import ${[...entry.imports, ...(entry.tests ?? [])].join(', ') || 'no other package'} (layers.json, "imports" and "tests")`,
  severity: 'error',
  from: { path: `^${literal(folder)}/(?:test|bench|examples)/|^${literal(folder)}/src/.*\\.test\\.tsx?$` },
  to: { path: '^(?:packages|apps|tools)/', pathNot: anyOf([folder, ...[...entry.imports, ...(entry.tests ?? [])].map(folderOf)]) },
});

/** Other packages are entered through what their package.json exports. */
const entryRule = (member) => ({
  name: `entry-${member.key}`,
  comment: `${member.name} is entered through ${[...entryPoints(member).values()].join(', ') || 'nothing: it is an app'}, or export what you need there`,
  severity: 'error',
  from: { pathNot: `^${literal(member.folder)}/` },
  to: { path: `^${literal(member.folder)}/`, pathNot: [...entryPoints(member).values()].map((file) => `^${literal(file)}$`) },
});

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'cycles, even of types only, make files impossible to read one at a time',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { pathNot: KNOWN_TYPE_ONLY_HUBS } },
    },
    {
      name: 'no-cycles-at-run-time',
      comment: 'what runs must load in one order: no cycle without a type-only import in it, anywhere',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'resolvable',
      comment: 'this import leads nowhere: is the file there, and the dependency in package.json?',
      severity: 'error',
      from: { pathNot: '^tools/[^/]+/.*\\.c$' },
      to: { couldNotResolve: true },
    },
    {
      name: 'shipped-is-not-test',
      comment: 'shipped code does not import tests',
      severity: 'error',
      from: { path: '^(?:packages|apps)/[^/]+/src/', pathNot: '\\.test\\.tsx?$' },
      to: { path: '\\.test\\.tsx?$|^(?:packages|apps)/[^/]+/(?:test|bench|examples)/' },
    },
    {
      name: 'by-name-not-by-path',
      comment: 'packages import each other by name, never by a relative path',
      severity: 'error',
      from: { path: '^((?:packages|apps)/[^/]+)/' },
      to: { path: '^(?:packages|apps)/', pathNot: '^$1/', dependencyTypes: ['local'] },
    },
    {
      name: 'declared-dependencies',
      comment: 'shipped code imports only what its own package.json has under dependencies',
      severity: 'error',
      from: { path: '^(?:packages|apps)/[^/]+/src/', pathNot: '\\.test\\.tsx?$' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
    ...workspaceMembers.flatMap((member) => [shippedRule(member), testRule(member), entryRule(member)]),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(?:^|/)(?:dist|\\.types|node_modules/(?!@nestvm))(?:/|$)|^apps/[^/]+/build/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    moduleSystems: ['es6', 'cjs', 'tsd'],
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@nestvm/source', 'import', 'node', 'types', 'default'],
      extensions: ['.ts', '.js', '.mjs', '.json', '.d.ts'],
    },
    cache: false,
  },
};
