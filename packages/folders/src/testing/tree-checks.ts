import { type ErrorName, FileError } from '../errors.js';
import { FileType } from '../tree.js';
import type { FileClient } from './client.js';

/** One thing that every tree does, as a client sees it: `run` throws when it does not. The tree is empty at first, and mounted as fid 0. */
export interface TreeCheck {
  readonly name: string;
  readonly run: (client: FileClient) => void;
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`tree: ${what}`);
}

function refused(code: ErrorName | readonly ErrorName[], act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (error instanceof FileError && [code].flat().includes(error.code)) return;
    throw error;
  }
  throw new Error(`tree: done, where ${String(code)} was expected`);
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (array: Uint8Array): string => new TextDecoder().decode(array);

/** Makes a file in the root with a content; uses fid 99. */
function put(client: FileClient, name: string, content: string): void {
  client.walk(0, 99, []);
  client.create(99, name);
  client.write(99, 0, bytes(content));
  client.clunk(99);
}

/** The content of a file below the root; uses fid 98. */
function get(client: FileClient, ...names: string[]): string {
  expect(client.walk(0, 98, names) === names.length, `${names.join('/')} is there`);
  client.open(98, 0);
  const content = text(client.read(98, 0, 60_000));
  client.clunk(98);
  return content;
}

function namesIn(client: FileClient, fid: number, room?: number): string {
  client.walk(fid, 97, []);
  client.open(97, 0o200000);
  const entries = client.list(97, room);
  client.clunk(97);
  return entries.map(({ name }) => name).join(' ');
}

const files: readonly TreeCheck[] = [
  {
    name: 'what was written is read back',
    run: (client) => {
      put(client, 'file', 'some text');
      expect(get(client, 'file') === 'some text', 'the content is there');
      client.walk(0, 1, ['file']);
      const { mode, sizeBytes, links } = client.attributes(1);
      expect((mode & FileType.MASK) === FileType.FILE && sizeBytes === 9 && links === 1, 'the attributes are those of a file');
      client.open(1, 0);
      expect(text(client.read(1, 5, 100)) === 'text' && client.read(1, 9, 4).length === 0, 'reads end at the end');
      refused('EBADF', () => client.write(1, 0, bytes('x')));
    },
  },
  {
    name: 'files have holes and other sizes',
    run: (client) => {
      client.walk(0, 1, []);
      client.create(1, 'file');
      client.write(1, 100_000, bytes('end'));
      expect(client.attributes(1).sizeBytes === 100_003, 'a write beyond the end makes the file longer');
      expect(
        client.read(1, 50_000, 10).every((byte) => byte === 0),
        'a hole is zeroes',
      );
      client.change(1, { sizeBytes: 4 });
      client.change(1, { sizeBytes: 8 });
      expect(client.attributes(1).sizeBytes === 8 && client.read(1, 0, 100).length === 8, 'the size can be set');
      client.walk(0, 2, ['file']);
      client.change(2, { sizeBytes: 2, mode: 0o600, modifiedMs: 1_234_567_890_123 });
      const { sizeBytes, mode, modifiedMs } = client.attributes(2);
      expect(sizeBytes === 2 && mode === (FileType.FILE | 0o600) && Math.abs(modifiedMs - 1_234_567_890_123) < 0.01, 'attributes can be set');
    },
  },
  {
    name: 'truncation, appending, exclusive creation',
    run: (client) => {
      put(client, 'file', 'first');
      client.walk(0, 1, ['file']);
      client.open(1, 0o2001);
      client.write(1, 5, bytes(' second'));
      client.clunk(1);
      expect(get(client, 'file') === 'first second', 'an appending file grows at its end');
      client.walk(0, 2, ['file']);
      client.open(2, 0o1001);
      client.clunk(2);
      expect(get(client, 'file') === '', 'O_TRUNC empties');
      client.walk(0, 3, []);
      refused('EEXIST', () => client.create(3, 'file', 0o202));
      client.create(3, 'file', 2);
    },
  },
  {
    name: 'an open file outlives its name',
    run: (client) => {
      put(client, 'file', 'still here');
      client.walk(0, 1, ['file']);
      client.walk(0, 2, ['file']);
      client.open(1, 2);
      client.unlink(0, 'file');
      put(client, 'file', 'another');
      expect(text(client.read(1, 0, 100)) === 'still here' && client.attributes(1).sizeBytes === 10, 'the open file is the old one');
      client.change(1, { sizeBytes: 5 });
      expect(client.attributes(1).sizeBytes === 5, 'the size of a file without a name can be set');
      refused('ENOENT', () => client.attributes(2));
      expect(get(client, 'file') === 'another', 'the new one is untouched');
    },
  },
];

const names: readonly TreeCheck[] = [
  {
    name: 'folders are made, listed in pieces, and removed when they are empty',
    run: (client) => {
      client.makeDirectory(0, 'folder');
      client.walk(0, 1, ['folder']);
      const wanted = Array.from({ length: 40 }, (_, i) => `name-${i}`);
      for (const name of wanted) client.makeDirectory(1, name);
      for (const room of [undefined, 100]) {
        const found = namesIn(client, 1, room).split(' ').toSorted().join();
        expect(found === ['.', '..', ...wanted].toSorted().join(), `the list of names is whole, not ${found}`);
      }
      expect(client.attributes(1).qidType === 0x80 && client.attributes(1).links === 42, 'the attributes are those of a folder');
      refused('ENOTEMPTY', () => client.unlink(0, 'folder', true));
      refused('EISDIR', () => client.unlink(0, 'folder'));
      refused('EEXIST', () => client.makeDirectory(0, 'folder'));
      for (const name of wanted) client.unlink(1, name, true);
      client.unlink(0, 'folder', true);
      refused('ENOENT', () => client.walk(0, 2, ['folder']));
    },
  },
  {
    name: 'walks go up and down, and end where there is nothing',
    run: (client) => {
      client.makeDirectory(0, 'a');
      client.walk(0, 1, ['a']);
      client.makeDirectory(1, 'b');
      put(client, 'file', 'x');
      expect(client.walk(0, 2, ['a', 'b', '..', '..', 'file']) === 5, '.. leads up');
      expect(client.walk(0, 3, ['..', '..', 'a']) === 3, '.. stops at the root');
      expect(client.walk(0, 4, ['a', 'nothing', 'b']) === 1, 'a walk says how far it came');
      refused('EBADF', () => client.attributes(4));
      expect(client.walk(0, 4, ['a', 'b', 'x']) === 2 && client.walk(0, 4, ['file', 'x']) === 1, 'a file has nothing below');
      refused('ENOENT', () => client.walk(0, 4, ['nothing']));
    },
  },
  {
    name: 'renaming moves and replaces, and open fids follow',
    run: (client) => {
      client.makeDirectory(0, 'old');
      client.walk(0, 1, ['old']);
      client.walk(0, 2, []);
      client.walk(1, 2 + 1, []);
      client.create(3, 'file');
      client.write(3, 0, bytes('moved'));
      client.makeDirectory(0, 'new');
      client.walk(0, 4, ['new']);
      client.rename(0, 'old', 4, 'deeper');
      expect(get(client, 'new', 'deeper', 'file') === 'moved', 'the folder went with what is in it');
      expect(namesIn(client, 1) === '. .. file', 'a fid in it follows');
      put(client, 'other', 'replaced');
      client.rename(1, 'file', 0, 'other');
      expect(get(client, 'other') === 'moved', 'what was there is replaced');
      refused('EINVAL', () => client.rename(0, 'new', 1, 'inside-itself'));
      refused('EISDIR', () => client.rename(0, 'other', 0, 'new'));
      refused('ENOTDIR', () => client.rename(0, 'new', 0, 'other'));
      refused(['ENOTEMPTY', 'EEXIST'], () => {
        client.makeDirectory(0, 'third');
        client.rename(0, 'third', 0, 'new');
      });
      refused('ENOENT', () => client.rename(0, 'nothing', 0, 'something'));
    },
  },
  {
    name: 'a file has several names',
    run: (client) => {
      put(client, 'one', 'content');
      client.walk(0, 1, ['one']);
      client.link(0, 1, 'two');
      client.walk(0, 2, ['two']);
      expect(client.attributes(1).qidPath === client.attributes(2).qidPath && client.attributes(2).links === 2, 'both are the same file');
      client.unlink(0, 'one');
      expect(get(client, 'two') === 'content' && client.attributes(2).links === 1, 'the other name stays');
      refused('EEXIST', () => client.link(0, 2, 'two'));
    },
  },
  {
    name: 'names of 255 bytes, and of any bytes',
    run: (client) => {
      const long = 'n'.repeat(255);
      put(client, long, 'long');
      expect(get(client, long) === 'long', 'a long name');
      refused('ENAMETOOLONG', () => put(client, `${long}n`, ''));
      client.clunk(99);
      put(client, 'caf\xe9 \xff\x01', 'bytes');
      expect(get(client, 'caf\xe9 \xff\x01') === 'bytes' && namesIn(client, 0).includes('caf\xe9 \xff\x01'), 'a name that is no UTF-8');
      for (const name of ['', '.', '..', 'a/b', '/', '../x', 'nul\0']) refused('EINVAL', () => client.makeDirectory(0, name));
      for (const name of ['', '.', 'a/b', '/etc']) refused('EINVAL', () => client.walk(0, 5, [name]));
    },
  },
];

const links: readonly TreeCheck[] = [
  {
    name: 'a symbolic link is read, never followed',
    run: (client) => {
      client.makeDirectory(0, 'folder');
      client.symbolicLink(0, 'link', 'folder');
      client.symbolicLink(0, 'out', '/etc/passwd');
      client.symbolicLink(0, 'up', '../../..');
      for (const [name, target] of [
        ['link', 'folder'],
        ['out', '/etc/passwd'],
        ['up', '../../..'],
      ] as const) {
        client.walk(0, 1, [name]);
        expect(client.readLink(1) === target, 'a link says where it leads');
        const { qidType, mode, sizeBytes } = client.attributes(1);
        expect(qidType === 2 && (mode & FileType.MASK) === FileType.LINK && sizeBytes === target.length, 'a link is a link');
        refused(['ELOOP', 'ENXIO'], () => client.open(1, 0));
        refused('EOPNOTSUPP', () => client.change(1, { mode: 0o777 }));
        refused('EOPNOTSUPP', () => client.change(1, { sizeBytes: 0 }));
        expect(client.walk(0, 2, [name, 'passwd']) === 1, 'nothing is below a link');
        refused(['ENOTDIR', 'EEXIST', 'ELOOP'], () => client.makeDirectory(1, 'inside'));
        client.clunk(1);
      }
      client.walk(0, 1, []);
      refused(['ELOOP', 'ENXIO', 'EEXIST'], () => client.create(1, 'out', 0o1002));
      client.unlink(0, 'link');
      expect(namesIn(client, 0).split(' ').includes('folder'), 'a removed link leaves its target');
    },
  },
];

/** What every tree does. */
export const treeChecks: readonly TreeCheck[] = [...files, ...names, ...links];
