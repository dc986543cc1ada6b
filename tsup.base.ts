import { readFileSync } from 'node:fs';
import { defineConfig } from 'tsup';

/** Source files of the entry points that the package in the current folder declares in its package.json. */
function declaredEntryPoints(): string[] {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { exports?: Record<string, Record<string, string>> };
  return Object.values(manifest.exports ?? {}).map((target) => (target['@nestvm/source'] ?? '').replace(/^\.\//, ''));
}

/** The JavaScript of a package: ESM, from the entry points in its package.json. */
export const packageConfig = (entry: string[] = declaredEntryPoints()) =>
  defineConfig({
    entry: Object.fromEntries(entry.map((file) => [file.replace(/^src\//, '').replace(/\.ts$/, ''), file])),
    format: ['esm'],
    // Declarations come from `tsc -b tsconfig.build.json`, which the build script runs afterwards.
    clean: true,
    sourcemap: true,
    target: 'es2022',
  });
