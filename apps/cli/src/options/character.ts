import { nearestName } from '@nestvm/isa/models';
import { UsageError } from '../errors.js';
import { assertKeys, parseProperties, parseSwitch } from './text.js';

/** Where the bytes of a serial port or debug console go. */
export type CharacterSpec =
  | { readonly kind: 'stdio'; readonly monitor: boolean }
  | { readonly kind: 'file'; readonly path: string; readonly append?: boolean }
  | { readonly kind: 'null' }
  | { readonly kind: 'none' };

/** Parses the argument of -serial or -debugcon. */
export function parseCharacterDevice(option: string, text: string, named: ReadonlyMap<string, CharacterSpec>): CharacterSpec {
  if (text === 'stdio') return { kind: 'stdio', monitor: false };
  if (text === 'mon:stdio') return { kind: 'stdio', monitor: true };
  if (text === 'null' || text === 'none') return { kind: text };
  const file = /^file:(.+)$/.exec(text);
  if (file) return { kind: 'file', path: file[1]! };
  const chardev = /^chardev:(.+)$/.exec(text);
  if (chardev) return namedCharacterDevice(option, chardev[1]!, named);
  throw new UsageError(`${option} ${text}: not one of stdio, mon:stdio, file:FILE, null, none, chardev:ID`);
}

/** Parses `-chardev`, to its id and what it is. */
export function parseChardev(text: string): readonly [string, CharacterSpec] {
  const { head, values } = parseProperties(text);
  const id = values.get('id');
  if (id === undefined) throw new UsageError(`-chardev ${text}: an id is missing; write -chardev ${head || 'stdio'},id=NAME`);
  const flag = (key: string): boolean | undefined => (values.has(key) ? parseSwitch(`-chardev ${key}`, values.get(key)!) : undefined);
  switch (head) {
    case 'file': {
      assertKeys('-chardev file', values, ['id', 'path', 'append']);
      const path = values.get('path');
      if (path === undefined) throw new UsageError(`-chardev ${text}: a path is missing; write -chardev file,id=${id},path=FILE`);
      return [id, { kind: 'file', path, ...(flag('append') ? { append: true } : {}) }];
    }
    case 'stdio': {
      assertKeys('-chardev stdio', values, ['id', 'mux', 'signal']);
      const monitor = flag('mux') ?? false;
      if (flag('signal') === monitor)
        throw new UsageError(
          `-chardev ${text}: Ctrl-C ends a run without mux=on and is a key with it; write signal=${monitor ? 'off' : 'on'} or nothing`,
        );
      return [id, { kind: 'stdio', monitor }];
    }
    case 'null':
      assertKeys('-chardev null', values, ['id']);
      return [id, { kind: 'null' }];
    default:
      throw unknownCharacterDevice(head);
  }
}

function unknownCharacterDevice(name: string): UsageError {
  const known = ['stdio', 'file', 'null', 'socket'];
  const near = nearestName(name, known);
  return new UsageError(`-chardev ${name}: no such character device; ${near ? `the nearest is '${near}'` : `there are ${known.join(', ')}`}`);
}

/** Looks a `-chardev` up by its id. */
export function namedCharacterDevice(option: string, id: string, named: ReadonlyMap<string, CharacterSpec>): CharacterSpec {
  const spec = named.get(id);
  if (spec !== undefined) return spec;
  throw new UsageError(
    `${option}: no -chardev has the id '${id}'; ${named.size > 0 ? `there are ${[...named.keys()].join(', ')}` : `add -chardev stdio,id=${id}`}`,
  );
}
