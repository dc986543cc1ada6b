import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['@nestvm/source'] },
  ssr: { resolve: { conditions: ['@nestvm/source'] } },
  test: {
    include: ['packages/*/{src,test}/**/*.test.ts', 'apps/*/{src,test}/**/*.test.ts', 'tools/**/*.test.ts'],
    // How guest code runs: tools/workspace/jit-mode.ts says what there is.
    setupFiles: process.env['NESTVM_JIT'] ? ['tools/workspace/jit-mode.ts'] : [],
    pool: 'threads',
    // The default leaves one core idle, which is half of a small machine; vitest's own thread has little to do.
    maxWorkers: '100%',
    // For what hangs, not for what is slow: how long a test or a hook takes depends on what else the host does, and must not decide about it.
    testTimeout: 600_000,
    hookTimeout: 300_000,
    teardownTimeout: 60_000,
  },
});
