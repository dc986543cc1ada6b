import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allFeatures, pages } from './pages.js';

const root = resolve(import.meta.dirname, '../..');

describe('the reference pages of nested virtualization', () => {
  it.each(Object.entries(pages))("%s is what the tables say (else run 'pnpm fix:nested-reference')", (file, page) => {
    expect(readFileSync(resolve(root, file), 'utf8')).toBe(page());
  });

  it('name tests that exist', () => {
    for (const { name, status, evidence } of allFeatures) {
      expect(evidence, name).not.toBe('');
      if (status === 'Y') expect(existsSync(resolve(root, evidence)), `${name}: ${evidence}`).toBe(true);
    }
  });
});
