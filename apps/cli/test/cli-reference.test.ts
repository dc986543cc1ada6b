import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { cliReference, cliReferenceFile } from './cli-reference.js';

it("docs/reference/cli.md is what the tables say (else run 'pnpm fix:cli-reference')", () => {
  expect(readFileSync(cliReferenceFile, 'utf8')).toBe(cliReference());
});
