import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createKeptCode } from './kept-code.js';

describe('kept code', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kept-code-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is read back under its name and by the same build alone', () => {
    const kept = createKeptCode(join(folder, 'one'))!;
    expect(kept.read('handlers')).toBeUndefined();
    kept.keep('handlers', new Uint8Array([1, 2, 3]));
    expect([...kept.read('handlers')!]).toEqual([1, 2, 3]);
    expect(kept.read('other')).toBeUndefined();
    expect(createKeptCode(join(folder, 'two'))!.read('handlers')).toBeUndefined();
    expect(readdirSync(folder)).toEqual(['one-handlers.code-cache']);
  });

  it('does without files that cannot be written', () => {
    const kept = createKeptCode(join(folder, 'missing', 'one'))!;
    kept.keep('handlers', new Uint8Array([1]));
    expect(kept.read('handlers')).toBeUndefined();
  });

  it('is nothing where nobody says which build it is', () => expect(createKeptCode(undefined)).toBeUndefined());
});
