import type { BlockBackend, MmcDrive } from '@nestvm/devices/virtio';
import type { Disk, ImageFormat, RemoteDisk } from '@nestvm/disks';
import { type FailureListener, GuardedDisk } from './blocks/guarded-disk.js';
import { type AddedNode, AddedNodes } from './blocks/nodes.js';
import { openDrive } from './disk.js';
import { UsageError } from './errors.js';
import { DEFAULT_ERRORS, type ErrorPolicy } from './options/block-errors.js';
import type { RunOptions } from './options/config.js';
import type { DriveSpec } from './options/drives.js';
import { openRemote } from './remote-drives.js';

/** A drive as monitors show it. */
export interface MediaEntry {
  readonly name: string;
  /** The image in it; absent when nothing is. */
  readonly path?: string;
  readonly format?: string;
  readonly readOnly: boolean;
  readonly removable: boolean;
  readonly trayOpen: boolean;
  readonly locked: boolean;
}

/** A CD drive and what is in it. */
interface CdEntry {
  readonly drive: MmcDrive;
  path?: string;
  format?: string;
  /** What `change` has opened. */
  disk?: Disk | RemoteDisk;
  /** What was put in by its name. */
  node?: AddedNode;
}

/** The drives of a run and what is in them: CDs can be changed. */
export class Media {
  private readonly cds = new Map<string, CdEntry>();
  private readonly nodes: AddedNodes;
  /** Drives of options that are CDs, whatever the option says. */
  private readonly cdDrives = new Set<string>();
  /** Disks that the guest may write. */
  private readonly written = new Set<BlockBackend>();
  /** Told when a tray opens or closes. */
  onTray: (name: string, open: boolean) => void = () => {};
  /** Told of what the host could not do; see `FailureListener`. */
  onFailure: FailureListener = () => {};

  constructor(private readonly options: RunOptions) {
    this.nodes = new AddedNodes(options.drives);
  }

  /** A drive's disk as a device is to have it. */
  guard({ id, errors }: DriveSpec, disk: BlockBackend, own?: ErrorPolicy): BlockBackend {
    this.noteWritten(disk);
    return new GuardedDisk(id, disk, own ?? errors ?? DEFAULT_ERRORS, (failure) => this.onFailure(failure));
  }

  /** Notes a disk that is to be flushed, unless it is read only. */
  noteWritten(disk: BlockBackend): void {
    if (!disk.readOnly) this.written.add(disk);
  }

  /** The machine is to go on elsewhere, or from a snapshot: the images have all that was written. Rejects with what the host throws. */
  async flush(): Promise<void> {
    for (const disk of this.written) await disk.flush();
  }

  /** Notes a CD drive and what is in it at first. */
  addCd(drive: MmcDrive, medium: DriveSpec | undefined): void {
    if (medium) this.cdDrives.add(medium.id);
    this.cds.set(drive.name, { drive, ...(medium ? { path: medium.path, ...(medium.format ? { format: medium.format } : {}) } : {}) });
  }

  /** A CD drive has gone, with what was put into it. */
  removeCd(name: string): void {
    const cd = this.cds.get(name);
    if (cd) this.empty(cd);
    this.cds.delete(name);
  }

  list(): MediaEntry[] {
    const added = this.nodes.list().flatMap(({ drive, user }) => (user === undefined ? [] : [drive]));
    const fixed = [...this.options.drives, ...added].filter(({ id, cd }) => !cd && !this.cdDrives.has(id) && !this.inCd(id)).map(fixedEntry);
    const cds = [...this.cds.values()].map(({ drive, path, format }) => ({
      name: drive.name,
      ...(path === undefined ? {} : { path }),
      ...(format === undefined ? {} : { format }),
      readOnly: true,
      removable: true,
      trayOpen: drive.open,
      locked: drive.locked,
    }));
    return [...fixed, ...cds];
  }

  /** What can be named: the drives of the command line, and nodes that were added. */
  named(): MediaEntry[] {
    return [...this.options.drives, ...this.nodes.list().map(({ drive }) => drive)].map(fixedEntry);
  }

  /** Adds a node (`blockdev-add`); rejects with `UsageError`. */
  addNode(description: unknown): Promise<void> {
    return this.nodes.add(description);
  }

  /** Adds a drive (`drive_add`); rejects with `UsageError`. */
  addDrive(drive: DriveSpec): Promise<void> {
    return this.nodes.addDrive('drive_add', drive);
  }

  /** Deletes a node (`blockdev-del`, `drive_del`); throws `UsageError`. */
  removeNode(name: string): void {
    this.nodes.remove(name);
  }

  /** Whether a node of this name was added. */
  hasNode(name: string): boolean {
    return this.nodes.list().some(({ drive }) => drive.id === name);
  }

  /** Gives a node that was added to a device; throws `UsageError` when another has it. */
  takeNode(name: string, user: string): AddedNode {
    return this.nodes.take(name, user);
  }

  /** Takes a CD out; throws `UsageError` when the guest has locked the door, unless `force`. */
  eject(name: string, force: boolean): void {
    this.empty(this.unlocked(name, force));
    this.onTray(name, true);
  }

  /** Puts another image into a CD drive; rejects with `UsageError`. */
  async change(
    name: string,
    path: string,
    { force = false, format }: { readonly force?: boolean; readonly format?: ImageFormat } = {},
  ): Promise<void> {
    const cd = this.find(name);
    if (cd.drive.locked && cd.path !== undefined) this.eject(name, force);
    const common = { id: name, option: `change ${name}`, path, plugged: false, cd: true, readOnly: true, snapshot: false, writeCache: true };
    const drive: DriveSpec = { ...common, ...(format ? { format } : {}) };
    const disk = openDrive(await openRemote(drive));
    this.empty(cd);
    cd.drive.change(this.guard(drive, disk));
    Object.assign(cd, { disk, path, ...(format ? { format } : {}) });
    this.onTray(name, false);
  }

  /** Puts a node into an empty CD drive (`blockdev-insert-medium`); throws `UsageError`. */
  insert(name: string, node: string): void {
    const cd = this.find(name);
    if (cd.path !== undefined) throw new UsageError(`'${name}' holds ${cd.path}; take it out first`);
    const added = this.nodes.take(node, name);
    cd.drive.change(this.guard(added.drive, added.disk));
    Object.assign(cd, { node: added, path: added.drive.path, format: added.drive.format });
    this.onTray(name, false);
  }

  /** Whether a node that was added is in a CD drive, which shows it. */
  private inCd(id: string): boolean {
    return [...this.cds.values()].some(({ node }) => node?.drive.id === id);
  }

  /** Throws `UsageError` unless a CD drive has this name. Its tray closes when something is put in. */
  assertCd(name: string): void {
    this.find(name);
  }

  private empty(cd: CdEntry): void {
    cd.drive.change(undefined);
    cd.disk?.close();
    if (cd.node) delete cd.node.user;
    for (const key of ['disk', 'node', 'path', 'format'] as const) delete cd[key];
  }

  private unlocked(name: string, force: boolean): CdEntry {
    const cd = this.find(name);
    if (!cd.drive.locked || force) return cd;
    cd.drive.requestEject();
    throw new UsageError(`the guest has locked '${name}' and was asked to release it; try again, or eject -f ${name}`);
  }

  close(): void {
    for (const { disk } of this.cds.values()) disk?.close();
    this.nodes.close();
  }

  private find(name: string): CdEntry {
    const cd = this.cds.get(name);
    if (cd) return cd;
    const fixed = this.options.drives.some(({ id, cd: removable }) => id === name && !removable);
    if (fixed) throw new UsageError(`'${name}' is a disk, which cannot be taken out`);
    throw new UsageError(
      `there is no drive '${name}'; there are ${
        this.list()
          .map((entry) => entry.name)
          .join(', ') || 'none'
      }`,
    );
  }
}

const fixedEntry = ({ id, path, format, readOnly, cd }: DriveSpec): MediaEntry => ({
  name: id,
  path,
  ...(format === undefined ? {} : { format }),
  readOnly,
  removable: cd,
  trayOpen: false,
  locked: false,
});
