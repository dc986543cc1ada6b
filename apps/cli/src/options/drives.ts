import { UsageError } from '../errors.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseProperties, parseSwitch } from './text.js';

/** A disk image. */
export interface DriveSpec {
  /** Name for `-device …,drive=`. */
  readonly id: string;
  /** What names it on the command line, for messages. */
  readonly option: string;
  readonly path: string;
  /** Absent: by its first bytes. */
  readonly format?: 'raw' | 'qcow2';
  /** Plugged in by itself, as a virtio disk; else a `-device` names it. */
  readonly plugged: boolean;
  readonly readOnly: boolean;
  readonly snapshot: boolean;
  readonly serial?: string;
  /** False: writes reach the disk before they complete. */
  readonly writeCache: boolean;
}

const KEYS = [
  'file',
  'format',
  'if',
  'id',
  'readonly',
  'read-only',
  'snapshot',
  'serial',
  'index',
  'media',
  'cache',
  'aio',
  'discard',
  'detect-zeroes',
  'werror',
  'rerror',
];
const CACHES: Readonly<Record<string, boolean>> = { writeback: true, none: true, unsafe: true, writethrough: false, directsync: false };

function parseDrive(text: string, number: number, snapshot: boolean): DriveSpec {
  const { head, values } = parseProperties(text);
  const option = `-drive ${text}`;
  assertKeys('-drive', values, KEYS);
  const path = values.get('file') ?? head;
  if (path === '') throw new UsageError(`${option}: a file is missing; write -drive file=FILE,format=raw,if=virtio`);
  const format = values.get('format');
  if (format !== undefined && format !== 'raw' && format !== 'qcow2')
    throw new UsageError(`${option}: format ${format} is not known; there are raw and qcow2 ('qemu-img convert -O qcow2' makes it)`);
  const bus = values.get('if') ?? 'virtio';
  if (bus !== 'virtio' && bus !== 'none') throw new UsageError(`${option}: if=${bus}: there are virtio and none`);
  if ((values.get('media') ?? 'disk') !== 'disk') throw new UsageError(`${option}: media=${values.get('media')}: there are only disks`);
  const cache = CACHES[values.get('cache') ?? 'writeback'];
  if (cache === undefined) throw new UsageError(`${option}: cache=${values.get('cache')}: there are ${Object.keys(CACHES).join(', ')}`);
  const isOn = (key: string): boolean => values.has(key) && parseSwitch(`-drive ${key}`, values.get(key)!);
  const serial = values.get('serial');
  return {
    id: values.get('id') ?? `drive${number}`,
    option,
    path,
    ...(format === undefined ? {} : { format }),
    plugged: bus === 'virtio',
    readOnly: isOn('readonly') || isOn('read-only'),
    snapshot: snapshot || isOn('snapshot'),
    writeCache: cache,
    ...(serial === undefined ? {} : { serial }),
  };
}

/** Parses `-drive`, `-hda`, `-hdb` and `-snapshot`; throws `UsageError`. */
export function parseDrives(raw: RawOptions): DriveSpec[] {
  const short = ['hda', 'hdb'].flatMap((name) => (raw.get(name) ?? []).slice(-1).map((path) => `file=${path.replaceAll(',', ',,')},if=virtio`));
  const drives = [...short, ...(raw.get('drive') ?? [])].map((text, number) => parseDrive(text, number, raw.has('snapshot')));
  drives.forEach(({ id }, i) => {
    if (drives.findIndex((drive) => drive.id === id) !== i) throw new UsageError(`-drive id=${id}: two disks have this name; give one another id`);
  });
  return drives;
}
