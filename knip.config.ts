import type { KnipConfig } from 'knip';

const config: KnipConfig = {
  workspaces: {
    '.': {
      entry: ['tools/*/*.{mjs,ts}', 'tools/**/*.test.ts'],
      project: ['*.{ts,mjs}', 'tools/**/*.{ts,mjs}'],
    },
    'packages/*': {
      // What package.json exports is for users, hence used; knip finds these entry points itself. Tests, benches and examples are run.
      entry: ['{test,bench,examples}/**/*.ts'],
      project: ['{src,test,bench,examples}/**/*.ts'],
    },
    'apps/*': {
      entry: ['src/main.ts', 'src/{page,worker}.ts', '*.mjs', 'test/**/*.ts'],
      project: ['{src,test}/**/*.ts', '*.mjs'],
    },
  },
  // oxlint runs its type-aware part, and ./nestvm runs esbuild, by path.
  ignoreDependencies: ['oxlint-tsgolint', 'esbuild'],
  // Of the machine, where the guests are built and the peer of the benchmarks runs.
  ignoreBinaries: ['gcc', 'as', 'objcopy', 'ld', 'nm', 'dpkg-deb', 'readelf', 'mkfifo', 'qemu-img', 'qemu-system-x86_64', 'tshark'],
  // A type that only its own file names may still be exported: it is part of a signature that others call.
  ignoreExportsUsedInFile: { interface: true, type: true },
};

export default config;
