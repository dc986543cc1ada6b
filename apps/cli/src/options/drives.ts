import type { RemoteDisk } from '@nestvm/disks';
import type { ArrivingDisk } from '../blocks/arriving-disk.js';
import { UsageError } from '../errors.js';
import { ERROR_KEYS, type ErrorPolicy, parseErrorPolicy } from './block-errors.js';
import { type BlockNode, filePathOf, isLocking, isShared, parseBlockdev } from './blockdev.js';
import type { RawOptions } from './parse.js';
import { assertKeys, parseInteger, parseProperties, parseSwitch } from './text.js';

/** A disk image. */
export interface DriveSpec {
  /** Name for `-device …,drive=`. */
  readonly id: string;
  /** What names it on the command line, for messages. */
  readonly option: string;
  readonly path: string;
  /** Absent: by its first bytes. */
  readonly format?: 'raw' | 'qcow2';
  /** Plugged in by itself, as a virtio disk; else a `-device` names it, or it is an ATA drive. */
  readonly plugged: boolean;
  /** On the board's ATA controller: its place, or the next that is free (-1). */
  readonly ata?: number;
  /** Firmware's flash: its unit, or the next that is free (-1). */
  readonly flash?: number;
  readonly cd: boolean;
  readonly readOnly: boolean;
  readonly snapshot: boolean;
  /** Whoever else has the image. */
  readonly unlocked?: boolean;
  readonly serial?: string;
  /** False: writes reach the disk before they complete. */
  readonly writeCache: boolean;
  /** What happens when the host fails (default: QEMU's, report and enospc). */
  readonly errors?: ErrorPolicy;
  /** A node of `-blockdev`. */
  readonly node?: BlockNode;
  /** Set while the machine is still somewhere else: where disks that it writes are noted, which are to be opened anew when it comes. */
  readonly arriving?: Set<ArrivingDisk>;
  /** The disk, where opening it takes its time: `path` is on a web server. */
  readonly opened?: RemoteDisk;
}

const KEYS = [
  'file',
  'file.driver',
  'file.filename',
  'file.url',
  'file.locking',
  'force-share',
  'driver',
  'format',
  'if',
  'id',
  'readonly',
  'read-only',
  'snapshot',
  'serial',
  'index',
  'unit',
  'media',
  'cache',
  'aio',
  'discard',
  'detect-zeroes',
  ...ERROR_KEYS,
];
/** How QEMU may reach the host; here all is the same. */
const AIO = ['threads', 'native', 'io_uring'];
/** QEMU's protocols that are not here. */
const FOREIGN = /^(nbd|ssh|gluster|rbd|iscsi|ftps?|sheepdog|nfs|fat|vvfat|json|fuse)(\+\w+)?:/;
const BUSES = ['virtio', 'ide', 'sata', 'pflash', 'none'];
const CACHES: Readonly<Record<string, boolean>> = { writeback: true, none: true, unsafe: true, writethrough: false, directsync: false };

/** Drivers of `file.driver=`, and the property that says where the file is. */
const FILE_DRIVERS: Readonly<Record<string, string>> = { file: 'file.filename', http: 'file.url', https: 'file.url' };

/** Path or address of an image: `file=`, or `file.driver=` with what belongs to it. */
function pathOf(option: string, head: string, values: ReadonlyMap<string, string>): string {
  const driver = values.get('file.driver');
  const key = driver === undefined ? undefined : FILE_DRIVERS[driver];
  if (driver !== undefined && key === undefined)
    throw new UsageError(`${option}: file.driver=${driver}: there are ${Object.keys(FILE_DRIVERS).join(', ')}`);
  const path = values.get('file') ?? (key === undefined ? (values.get('file.url') ?? values.get('file.filename')) : values.get(key)) ?? head;
  if (key === 'file.url' && !path.startsWith(`${driver}:`))
    throw new UsageError(`${option}: file.driver=${driver} needs an address; write file.url=${driver}://HOST/FILE`);
  return path;
}

/** Parses `-drive`, or the argument of `drive_add`; throws `UsageError`. */
export function parseDrive(text: string, number: number, snapshot: boolean, word = '-drive'): DriveSpec {
  const { head, values } = parseProperties(text);
  const option = `${word} ${text}`;
  assertKeys(word, values, KEYS);
  const path = pathOf(option, head, values);
  if (path === '') throw new UsageError(`${option}: a file is missing; write -drive file=FILE,format=raw,if=virtio`);
  const foreign = FOREIGN.exec(path)?.[0];
  if (foreign !== undefined)
    throw new UsageError(`${option}: images behind ${foreign} are not read; there are files, http:// and https:// ('qemu-img convert' makes a file)`);
  const aio = values.get('aio') ?? 'threads';
  if (!AIO.includes(aio)) throw new UsageError(`${option}: aio=${aio}: there are ${AIO.join(', ')}`);
  const format = values.get('format') ?? values.get('driver');
  if (format !== undefined && format !== 'raw' && format !== 'qcow2')
    throw new UsageError(`${option}: format ${format} is not known; there are raw and qcow2 ('qemu-img convert -O qcow2' makes it)`);
  const media = values.get('media') ?? 'disk';
  if (media !== 'disk' && media !== 'cdrom') throw new UsageError(`${option}: media=${media}: there are disk and cdrom`);
  const bus = values.get('if') ?? (media === 'cdrom' ? 'ide' : 'virtio');
  if (!BUSES.includes(bus)) throw new UsageError(`${option}: if=${bus}: there are ${BUSES.join(', ')}`);
  const cd = media === 'cdrom';
  if (cd && bus === 'virtio') throw new UsageError(`${option}: a CD is no virtio disk; write if=ide, or if=none and -device scsi-cd`);
  const index = values.get('index') ?? values.get('unit');
  const cache = CACHES[values.get('cache') ?? 'writeback'];
  if (cache === undefined) throw new UsageError(`${option}: cache=${values.get('cache')}: there are ${Object.keys(CACHES).join(', ')}`);
  const isOn = (key: string): boolean => values.has(key) && parseSwitch(`-drive ${key}`, values.get(key)!);
  const serial = values.get('serial');
  const readOnly = cd || isOn('readonly') || isOn('read-only');
  const locking = isLocking(option, values.get('file.locking'));
  return {
    id: values.get('id') ?? `drive${number}`,
    option,
    path,
    ...(format === undefined ? {} : { format }),
    plugged: bus === 'virtio',
    cd,
    ...(bus === 'pflash' ? { flash: index === undefined ? -1 : parseInteger('-drive unit', index, 0, 3) } : {}),
    ...(bus === 'ide' || bus === 'sata' ? { ata: index === undefined ? -1 : parseInteger('-drive index', index, 0, 31) } : {}),
    readOnly,
    snapshot: snapshot || isOn('snapshot'),
    ...(isShared(option, isOn('force-share'), readOnly) || !locking ? { unlocked: true } : {}),
    writeCache: cache,
    errors: parseErrorPolicy(option, values),
    ...(serial === undefined ? {} : { serial }),
  };
}

/** The drive that a node is for devices that name it. */
export function nodeDrive(node: BlockNode & { readonly name: string }): DriveSpec {
  return {
    id: node.name,
    option: node.option,
    path: filePathOf(node) ?? node.driver,
    format: node.driver === 'qcow2' ? 'qcow2' : 'raw',
    plugged: false,
    cd: false,
    readOnly: node.readOnly,
    snapshot: false,
    writeCache: true,
    node,
  };
}

/** Parses `-blockdev`: those with a name that nothing else is built upon are drives. */
function parseNodes(texts: readonly string[]): DriveSpec[] {
  const named = new Map<string, BlockNode>();
  const add = (node: BlockNode): void => {
    if (node.name !== undefined) named.set(node.name, node);
    for (const below of [node.below, node.backing]) if (below) add(below);
  };
  const tops = texts.map((text) => {
    const node = parseBlockdev(text, named);
    if (node.name === undefined) throw new UsageError(`${node.option}: node-name= is missing, by which a -device finds it`);
    add(node);
    return { ...node, name: node.name };
  });
  const under = new Set(tops.flatMap(({ below, backing }) => [below?.name, backing?.name]));
  return tops.filter(({ name }) => !under.has(name)).map(nodeDrive);
}

/** Puts what `-M …,pflash0=ID,pflash1=ID` names into the flash; throws `UsageError`. */
export function placeFlash(drives: readonly DriveSpec[], ids: readonly (string | undefined)[]): DriveSpec[] {
  ids.forEach((id, unit) => {
    if (id !== undefined && !drives.some((drive) => drive.id === id))
      throw new UsageError(`-M …,pflash${unit}=${id}: no such drive; add -blockdev driver=file,filename=FILE,node-name=${id}`);
  });
  return drives.map((drive) => (ids.includes(drive.id) ? { ...drive, plugged: false, flash: ids.indexOf(drive.id) } : drive));
}

/** The short options, and what they stand for on boards with ATA; on others disks are virtio disks. */
const SHORT: Readonly<Record<string, string>> = {
  hda: 'if=ide,index=0',
  hdb: 'if=ide,index=1',
  hdc: 'if=ide,index=2',
  hdd: 'if=ide,index=3',
  cdrom: 'if=ide,index=2,media=cdrom',
};

/** Parses `-drive`, `-hda` to `-hdd`, `-cdrom`, `-pflash` and `-snapshot`; throws `UsageError`. */
export function parseDrives(raw: RawOptions, ata: boolean): DriveSpec[] {
  const short = Object.entries(SHORT).flatMap(([name, place]) =>
    (raw.get(name) ?? []).slice(-1).map((path) => `file=${path.replaceAll(',', ',,')},${ata || name === 'cdrom' ? place : 'if=virtio'}`),
  );
  const flash = (raw.get('pflash') ?? []).map((path) => `file=${path.replaceAll(',', ',,')},if=pflash,format=raw`);
  const drives = [...short, ...(raw.get('drive') ?? []), ...flash].map((text, number) => parseDrive(text, number, raw.has('snapshot')));
  drives.push(...parseNodes(raw.get('blockdev') ?? []));
  drives.forEach(({ id }, i) => {
    if (drives.findIndex((drive) => drive.id === id) !== i) throw new UsageError(`-drive id=${id}: two disks have this name; give one another id`);
  });
  return drives;
}
