import { UsageError } from '../errors.js';

/** Where the bytes of a serial port or debug console go. */
export type CharacterSpec =
  | { readonly kind: 'stdio'; readonly monitor: boolean }
  | { readonly kind: 'file'; readonly path: string }
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

/** Looks a `-chardev` up by its id. */
export function namedCharacterDevice(option: string, id: string, named: ReadonlyMap<string, CharacterSpec>): CharacterSpec {
  const spec = named.get(id);
  if (spec !== undefined) return spec;
  throw new UsageError(
    `${option}: no -chardev has the id '${id}'; ${named.size > 0 ? `there are ${[...named.keys()].join(', ')}` : `add -chardev stdio,id=${id}`}`,
  );
}
