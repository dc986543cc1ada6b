import { UsageError } from '../errors.js';
import { type OnlyRow, takeOnly } from './only.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseProperties, parseSwitch } from './text.js';

/** A folder of the host that guests share. */
export interface FolderSpec {
  readonly id: string;
  /** How the user wrote it, for messages. */
  readonly option: string;
  readonly path: string;
  readonly ownership: 'none' | 'passthrough';
  readonly readOnly: boolean;
  /** `-virtfs`: plugged in under this tag. */
  readonly tag?: string;
}

const KEYS = ['id', 'path', 'security_model', 'readonly'];

/** What has one outcome here. */
const ONLY: Readonly<Record<string, OnlyRow>> = {
  writeout: [/^$/, 'writes go to the page cache of the host; leave it out, and use fsync in the guest'],
  multidevs: [/^(remap|warn)$/, 'file systems below the folder are told apart always; leave it out'],
};

/** Parses the rest of `-fsdev local,…` or `-virtfs local,…`; throws `UsageError`. */
function parseFolder(name: string, text: string, fallbackId: string | undefined): FolderSpec {
  const { head, values: given } = parseProperties(text);
  const values = new Map(given);
  const virtfs = name === '-virtfs';
  const id = values.get('id') ?? fallbackId;
  const option = `${name} ${head}${id === undefined || id === fallbackId ? '' : `,id=${id}`}`;
  if (head !== 'local') throw new UsageError(`${name} ${text}: there is ${name} local,path=F,security_model=none`);
  takeOnly(option, values, ONLY);
  assertKeys(option, values, virtfs ? [...KEYS, 'mount_tag'] : KEYS);
  const [path, tag, model] = [values.get('path'), values.get('mount_tag'), values.get('security_model')];
  if (id === undefined) throw new UsageError(`${option}: an id is missing; write ${name} local,id=f0,path=F,security_model=none`);
  if (path === undefined) throw new UsageError(`${option}: path= is missing; name the folder to be shared`);
  if (virtfs && tag === undefined) throw new UsageError(`${option}: mount_tag= is missing; the guest mounts the folder by it`);
  if (model !== 'none' && model !== 'passthrough')
    throw new UsageError(
      `${option}: security_model=${model ?? ''}: say whose the guest's files are: none (the guest's owners where the host allows it), passthrough (nothing else will do)`,
    );
  const readOnly = values.has('readonly') && parseSwitch(`${option} readonly`, values.get('readonly') ?? '');
  return { id, option, path, ownership: model, readOnly, ...(tag === undefined ? {} : { tag }) };
}

/** Parses `-fsdev` and `-virtfs`; throws `UsageError`. */
export function parseFolders(raw: RawOptions): FolderSpec[] {
  const folders = [
    ...(raw.get('fsdev') ?? []).map((text) => parseFolder('-fsdev', text, undefined)),
    ...(raw.get('virtfs') ?? []).map((text, number) => parseFolder('-virtfs', text, `virtfs${number}`)),
  ];
  const ids = folders.map(({ id }) => id);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) throw new UsageError(`-fsdev id=${twice}: two folders have this name; give one another id`);
  return folders;
}
