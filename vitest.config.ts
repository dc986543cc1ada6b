import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['@nestvm/source'] },
  ssr: { resolve: { conditions: ['@nestvm/source'] } },
  test: {
    include: ['packages/*/{src,test}/**/*.test.ts', 'apps/*/{src,test}/**/*.test.ts', 'tools/**/*.test.ts'],
    pool: 'threads',
    testTimeout: 60_000,
  },
});
