import { defineConfig } from 'tsup';

/** The one build that every package has: ESM and types, from the given entry points. */
export const packageConfig = (entry: string[]) =>
  defineConfig({
    entry: Object.fromEntries(entry.map((file) => [file.replace(/^src\//, '').replace(/\.ts$/, ''), file])),
    format: ['esm'],
    dts: true,
    clean: true,
    sourcemap: true,
    target: 'es2022',
  });
