import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clauses } from '../../packages/devices/src/virtio/index.js';
import { page } from './page.js';
import { groups } from './sections.js';

const root = resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(resolve(root, file), 'utf8');
const tests = (file: string): string => read(`packages/devices/test/virtio/${file}.test.ts`);

describe('the reference page of virtio', () => {
  it("is what the tables say (else run 'pnpm fix:virtio-reference')", () => {
    expect(read('docs/reference/virtio.md')).toBe(page());
  });

  it.each(groups.flatMap(({ sections }) => sections.map((section) => [section.title, section.test] as const)))(
    'names a test that exists: %s',
    (_, [file, name]) => {
      expect(tests(file)).toContain(`('${name}`);
    },
  );

  it('has a test that breaks each clause of the validator', () => {
    const all = ['rings', 'transports', 'block', 'net', 'console', 'balloon', 'vsock', 'scsi'].map(tests).join('\n');
    for (const clause of Object.keys(clauses)) expect(all).toContain(`'${clause}'`);
  });
});
