import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { UsageError } from '../src/errors.js';
import { openTftpFolder } from '../src/networks/tftp-folder.js';
import { temporaryFolder } from './temporary.js';

it('gives away the files of a folder, and nothing beside it', () => {
  const outside = temporaryFolder('tftp');
  const folder = join(outside, 'boot');
  mkdirSync(join(folder, 'deep'), { recursive: true });
  writeFileSync(join(outside, 'secret'), 'no');
  writeFileSync(join(folder, 'deep/file'), 'yes');
  symlinkSync('deep/file', join(folder, 'inside'));
  symlinkSync('../secret', join(folder, 'leading-out'));
  symlinkSync('..', join(folder, 'up'));
  const open = openTftpFolder('-netdev user', folder);
  const read = (name: string): string | undefined => {
    const file = open(name);
    if (file === undefined) return undefined;
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(0, bytes);
    file.close();
    return new TextDecoder().decode(bytes);
  };
  for (const name of ['deep/file', '/deep/file', 'deep\\file', 'inside', './deep/../deep/file']) expect(read(name)).toBe('yes');
  for (const name of ['../secret', '/../secret', 'leading-out', 'up/secret', 'deep', '', 'none', 'a\0b', join(outside, 'secret')])
    expect(read(name)).toBeUndefined();
  expect(() => openTftpFolder('-netdev user', join(folder, 'none'))).toThrow(UsageError);
  expect(() => openTftpFolder('-netdev user', join(folder, 'deep/file'))).toThrow(/not a folder; name a folder/);
});
