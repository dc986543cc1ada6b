import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { root } from './workspace.mjs';

/** A small workspace of two packages, with the real checkers in it. */
let folder: string;

const put = (file: string, text: string): void => {
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  writeFileSync(join(folder, file), text);
};

const layersJson = (change: Record<string, object> = {}): string =>
  JSON.stringify({
    scope: '@nestvm',
    layers: ['low', 'high', 'apps'],
    packages: {
      bottom: { layer: 'low', imports: [], job: 'to be imported', ...change['bottom'] },
      top: { layer: 'high', imports: ['bottom'], job: 'to import', ...change['top'] },
    },
    apps: {},
  });

const readme = `# @nestvm/x

It does.

**Owns:** this. **Does not own:** that.

## Install

## Example

\`\`\`ts
console.log('an example');
\`\`\`

## API

## Change it here

## Limits
`;

function putPackage(key: string, source: string): void {
  put(`packages/${key}/package.json`, JSON.stringify({ name: `@nestvm/${key}`, version: '0.0.0', exports: { '.': {} }, scripts: {} }));
  put(`packages/${key}/src/index.ts`, source);
  put(`packages/${key}/README.md`, readme);
  put(`packages/${key}/examples/example.ts`, "console.log('an example');\n");
}

/** Runs a checker there. */
function check(name: string, ...args: string[]): { readonly status: number | null; readonly text: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'tools/workspace', name), ...args], { encoding: 'utf8' });
  return { status, text: stdout + stderr };
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nestvm-workspace-'));
  cpSync(join(root, 'tools/workspace'), join(folder, 'tools/workspace'), { recursive: true });
  // Their own files would be judged too.
  for (const file of ['checkers.test.ts', 'examples.test.ts', 'summaries.test.ts', 'vitest-results.test.ts'])
    rmSync(join(folder, 'tools/workspace', file));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  mkdirSync(join(folder, 'apps'));
  for (const file of ['README.md', 'docs/reference/packages.md']) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(root, file), join(folder, file));
  }
  put('layers.json', layersJson());
  putPackage('bottom', 'export const one = 1;\n');
  putPackage('top', "export { one } from '@nestvm/bottom';\n");
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('check-layers', () => {
  it('accepts what --fix has written, and nothing before', () => {
    expect(check('check-layers.mjs').status).toBe(1);
    expect(check('check-layers.mjs', '--fix')).toMatchObject({ status: 0, text: expect.stringContaining('packages/top/package.json') });
    expect(check('check-layers.mjs')).toMatchObject({ status: 0 });
  });

  it.each<[string, () => void, RegExp]>([
    ['an import that is not allowed', () => put('packages/bottom/src/index.ts', "export * from '@nestvm/top';\n"), /does not allow bottom to import/],
    [
      'an import from a higher layer',
      () => put('layers.json', layersJson({ bottom: { imports: ['top'] }, top: { imports: [] } })),
      /from a higher layer/,
    ],
    ['a cycle', () => put('layers.json', layersJson({ bottom: { tests: ['top'] } })), /cycle/],
    ['a package that is not listed', () => putPackage('other', ''), /packages\/other is not in layers.json/],
    ['a package that is not there', () => rmSync(join(folder, 'packages/bottom'), { recursive: true }), /packages\/bottom does not exist/],
    ['a planned package that is there', () => put('layers.json', layersJson({ top: { planned: true } })), /still marked as planned/],
    ['a layer that does not exist', () => put('layers.json', layersJson({ top: { layer: 'middle' } })), /which is not in "layers"/],
    ['a stale dependency', () => put('packages/top/src/index.ts', 'export {};\n'), /packages\/top\/package.json is out of date/],
  ])('finds %s', (_name, change, message) => {
    check('check-layers.mjs', '--fix');
    change();
    const { status, text } = check('check-layers.mjs');
    expect(text).toMatch(message);
    expect(status).toBe(1);
  });
});

describe('check-budgets', () => {
  const lines = (count: number, line = 'x();\n'): string => line.repeat(count);

  it.each<[string, number, () => void, RegExp]>([
    ['short files', 0, () => {}, /0 over a limit/],
    ['a file over the budget', 0, () => put('packages/top/src/long.ts', lines(301)), /warning: packages\/top\/src\/long.ts: 301 lines/],
    ['a file over the limit', 1, () => put('packages/top/src/long.ts', lines(501)), /long.ts: 501 lines, the limit is 500/],
    ['a long function', 1, () => put('packages/top/src/f.ts', `export function f() {\n${lines(90)}}\n`), /f.ts:1 f: 92 lines, the limit is 80/],
    ['a table of any length', 0, () => put('packages/top/src/data/rows.ts', lines(900)), /0 over a limit/],
    ['a name that means everything', 1, () => put('packages/top/src/utils.ts', ''), /utils/],
    ['a name that is not kebab-case', 1, () => put('packages/top/src/camelCase.ts', ''), /camelCase/],
  ])('%s: status %d', (_name, expected, change, message) => {
    change();
    const { status, text } = check('check-budgets.mjs');
    expect(text).toMatch(message);
    expect(status).toBe(expected);
  });
});

describe('check-readmes', () => {
  it.each<[string, number, () => void, RegExp]>([
    ['READMEs in order', 0, () => {}, /^(?!.*absent)/],
    ['an absent one', 1, () => rmSync(join(folder, 'packages/top/README.md')), /packages\/top\/README.md: absent/],
    ['an absent part', 1, () => put('packages/top/README.md', readme.replace('## Limits\n', '')), /the part 'Limits' is absent/],
    [
      'parts out of order',
      1,
      () => put('packages/top/README.md', readme.replace('## Install\n\n', '').replace('## API', '## API\n\n## Install')),
      /comes before/,
    ],
    ['an example that is not in examples/', 1, () => put('packages/top/README.md', readme.replace('an example', 'another')), /not a piece of/],
    ['no example at all', 1, () => rmSync(join(folder, 'packages/top/examples'), { recursive: true }), /there is no example/],
  ])('%s: status %d', (_name, expected, change, message) => {
    change();
    const { status, text } = check('check-readmes.mjs');
    expect(text).toMatch(message);
    expect(status).toBe(expected);
  });
});
