import { CdDrive } from '@nestvm/devices/ata';
import type { Disk, RemoteDisk } from '@nestvm/disks';
import { openDrive } from './disk.js';
import { UsageError } from './errors.js';
import type { RunOptions } from './options/config.js';

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

/** The drives of a run and what is in them: CDs can be changed. */
export class Media {
  private readonly cds = new Map<string, { drive: CdDrive; path?: string; disk?: Disk | RemoteDisk }>();
  /** Told when a tray opens or closes. */
  onTray: (name: string, open: boolean) => void = () => {};

  constructor(private readonly options: RunOptions) {}

  /** Notes a CD drive and what is in it at first. */
  addCd(drive: CdDrive, path: string | undefined): void {
    this.cds.set(drive.name, { drive, ...(path === undefined ? {} : { path }) });
  }

  list(): MediaEntry[] {
    const fixed = this.options.drives
      .filter(({ cd }) => !cd)
      .map(({ id, path, format, readOnly }) => ({
        name: id,
        path,
        ...(format === undefined ? {} : { format }),
        readOnly,
        removable: false,
        trayOpen: false,
        locked: false,
      }));
    const cds = [...this.cds.values()].map(({ drive, path }) => ({
      name: drive.name,
      ...(path === undefined ? {} : { path }),
      readOnly: true,
      removable: true,
      trayOpen: drive.open,
      locked: drive.locked,
    }));
    return [...fixed, ...cds];
  }

  /** Takes a CD out; throws `UsageError` when the guest has locked the door, unless `force`. */
  eject(name: string, force: boolean): void {
    const cd = this.find(name);
    if (cd.drive.locked && !force) {
      cd.drive.requestEject();
      throw new UsageError(`the guest has locked '${name}' and was asked to release it; try again, or eject -f ${name}`);
    }
    cd.drive.change(undefined);
    cd.disk?.close();
    delete cd.disk;
    delete cd.path;
    this.onTray(name, true);
  }

  /** Puts another image into a CD drive; throws `UsageError`. */
  change(name: string, path: string, force = false): void {
    const cd = this.find(name);
    if (cd.drive.locked && cd.path !== undefined) this.eject(name, force);
    const disk = openDrive({ id: name, option: `change ${name}`, path, plugged: false, cd: true, readOnly: true, snapshot: false, writeCache: true });
    cd.disk?.close();
    cd.drive.change(disk);
    cd.disk = disk;
    cd.path = path;
    this.onTray(name, false);
  }

  close(): void {
    for (const { disk } of this.cds.values()) disk?.close();
  }

  private find(name: string): { drive: CdDrive; path?: string; disk?: Disk | RemoteDisk } {
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
