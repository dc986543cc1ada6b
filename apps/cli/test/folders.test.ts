import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError, FileServer } from '@nestvm/folders';
import { FileClient, treeChecks } from '@nestvm/folders/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HostFolder } from '../src/folders/host-folder.js';

let top: string;
let root: string;
let folder: HostFolder;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'nestvm-folder-'));
  root = join(top, 'shäred');
  mkdirSync(root);
  writeFileSync(join(top, 'secret'), 'secret');
  folder = new HostFolder(root, 'none');
});

afterEach(() => {
  folder.close();
  rmSync(top, { recursive: true });
});

function mounted(readOnly = false): FileClient {
  const client = new FileClient(new FileServer({ tree: folder, readOnly }));
  client.mount();
  return client;
}

const code = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    if (error instanceof FileError) return error.code;
    throw error;
  }
  return 'done';
};

describe('a folder of the host', () => {
  it.each(treeChecks)('$name', ({ run }) => expect(() => run(mounted())).not.toThrow());

  it('has the files that the guest made', () => {
    const client = mounted();
    client.walk(0, 1, []);
    client.create(1, 'made', 2, 0o751);
    client.write(1, 0, new TextEncoder().encode('by the guest'));
    expect(readFileSync(join(root, 'made'), 'utf8')).toBe('by the guest');
    expect(execFileSync('stat', ['-c', '%a', join(root, 'made')], { encoding: 'utf8' }).trim()).toBe('751');
  });

  it('is left as it is when it is read-only', () => {
    writeFileSync(join(root, 'file'), 'x');
    const client = mounted(true);
    client.walk(0, 1, ['file']);
    const attempts = [
      () => client.open(1, 1),
      () => client.open(1, 0o1000),
      () => client.change(1, { sizeBytes: 0 }),
      () => client.makeDirectory(0, 'new'),
      () => client.unlink(0, 'file'),
      () => client.rename(0, 'file', 0, 'new'),
      () => client.link(0, 1, 'new'),
      () => client.symbolicLink(0, 'new', 'file'),
    ];
    expect(attempts.map(code)).toEqual(attempts.map(() => 'EROFS'));
    client.open(1, 0);
    expect(client.read(1, 0, 10).length).toBe(1);
    expect(readdirSync(root)).toEqual(['file']);
  });

  it('does not lead out, through no link in the middle of a path', () => {
    const client = mounted();
    mkdirSync(join(root, 'folder'));
    writeFileSync(join(root, 'folder', 'secret'), 'public');
    client.walk(0, 1, ['folder']);
    client.walk(0, 2, ['folder', 'secret']);
    // Somebody replaces a folder that the guest has walked into by a link that leads out.
    renameSync(join(root, 'folder'), join(top, 'away'));
    symlinkSync('..', join(root, 'folder'));
    const attempts = [
      () => client.open(2, 0),
      () => client.attributes(2),
      () => client.walk(1, 3, ['secret']),
      () => client.makeDirectory(1, 'new'),
      () => client.unlink(1, 'secret'),
      () => client.rename(1, 'secret', 0, 'mine'),
      () => client.open(1, 0),
    ];
    for (const attempt of attempts) expect(['ENOTDIR', 'ENOENT', 'ELOOP', 'ENXIO']).toContain(code(attempt));
    expect(readFileSync(join(top, 'secret'), 'utf8')).toBe('secret');
    expect(readdirSync(top).toSorted()).toEqual(['away', 'secret', 'shäred']);
  });

  it('keeps what was swapped under an open listing apart', () => {
    const client = mounted();
    for (const name of ['a', 'b']) {
      mkdirSync(join(root, name));
      writeFileSync(join(root, name, `in-${name}`), '');
    }
    client.walk(0, 1, ['a']);
    expect(code(() => client.walk(1, 2, ['in-a']))).toBe('done');
    renameSync(join(root, 'a'), join(root, 'c'));
    renameSync(join(root, 'b'), join(root, 'a'));
    // The fid is a path, as QEMU's: it is the folder of that name now, and not one that is elsewhere.
    expect(code(() => client.walk(1, 3, ['in-a']))).toBe('ENOENT');
    expect(code(() => client.walk(1, 4, ['in-b']))).toBe('done');
  });

  it('does not open what is no file, and does not wait for it', () => {
    execFileSync('mkfifo', [join(root, 'fifo')]);
    const client = mounted();
    client.walk(0, 1, ['fifo']);
    expect([0, 1, 2].map((flags) => code(() => client.open(1, flags)))).toEqual(['ENXIO', 'ENXIO', 'ENXIO']);
  });

  it('goes deeper than folders are kept open', () => {
    const client = mounted();
    client.walk(0, 1, []);
    for (let depth = 0; depth < 400; depth++) {
      client.makeDirectory(1, 'd');
      client.walk(1, 1, ['d']);
    }
    client.create(1, 'bottom', 2);
    client.rename(0, 'd', 0, 'e');
    expect(readFileSync(join(root, ...Array.from({ length: 400 }, (_, i) => (i === 0 ? 'e' : 'd')), 'bottom'), 'utf8')).toBe('');
    expect(client.walk(0, 2, ['e', 'd', 'd'])).toBe(3);
  });
});
