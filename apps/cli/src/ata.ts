import { AtaDisk, type AtaDrive, CdDrive } from '@nestvm/devices/ata';
import type { BlockBackend } from '@nestvm/devices/virtio';
import type { Disk, RemoteDisk } from '@nestvm/disks';
import type { AtaConfig, AtaPlace } from '@nestvm/machine';
import { openDrive } from './disk.js';
import { UsageError } from './errors.js';
import type { Media } from './media.js';
import type { AtaSpec } from './options/ata.js';
import type { RunOptions } from './options/config.js';
import type { DriveSpec } from './options/drives.js';

/** Places of the boards' own controllers, and units on a bus of them. */
const OWN = { pc: { places: 4, units: 2 }, isapc: { places: 4, units: 2 }, q35: { places: 6, units: 1 }, microvm: { places: 0, units: 1 } } as const;
const AHCI_PORTS = 6;

/** The ATA drives of a run, and the files under them. */
export class AtaParts {
  readonly drives: AtaDrive[] = [];
  private readonly disks: (Disk | RemoteDisk)[] = [];
  private readonly own: (AtaPlace | undefined)[] = [];
  private readonly others = new Map<string, (AtaPlace | undefined)[]>();
  private options!: RunOptions;
  private media!: Media;

  /** Makes what the options name; throws `UsageError`. What is open by then stays so until `close`. */
  create(options: RunOptions, media: Media): AtaConfig {
    this.options = options;
    this.media = media;
    for (const name of options.devices.ahci) this.others.set(name, new Array<undefined>(AHCI_PORTS).fill(undefined));
    const used = new Set(options.devices.ata.map(({ drive }) => drive));
    const fixed = options.drives
      .filter(({ ata, id }) => ata !== undefined && !used.has(id))
      .toSorted((a, b) => Number(a.ata === -1) - Number(b.ata === -1));
    for (const drive of fixed) this.plugDrive(drive);
    for (const spec of options.devices.ata) this.plugDevice(spec);
    const ahci = [...this.others].map(([name, ports]) => ({ name, ports }));
    return { ...(this.own.length > 0 ? { board: this.own } : {}), ...(ahci.length > 0 ? { ahci } : {}) };
  }

  close(): void {
    for (const disk of this.disks.splice(0)) disk.close();
  }

  private get places(): number {
    return OWN[this.options.board].places;
  }

  private plugDrive(drive: DriveSpec): void {
    const place = drive.ata === -1 ? this.free(drive.option) : drive.ata!;
    this.put(drive.option, this.own, place, this.places, { drive: this.createDrive({ device: 'drive', cd: drive.cd, drive: drive.id }) });
  }

  private plugDevice(spec: AtaSpec): void {
    const option = `-device ${spec.device}`;
    const place = { drive: this.createDrive(spec), ...(spec.bootIndex === undefined ? {} : { bootIndex: spec.bootIndex }) };
    if (spec.bus === undefined) return this.put(option, this.own, this.free(option), this.places, place);
    const [, name, bus] = /^(.+)\.(\d+)$/.exec(spec.bus) ?? [];
    if (name === undefined) throw new UsageError(`${option},bus=${spec.bus}: write bus=ide.N, or bus=ID.N for -device ahci,id=ID`);
    if (name !== 'ide') {
      const ports = this.others.get(name);
      if (ports === undefined) throw new UsageError(`${option},bus=${spec.bus}: there is no controller '${name}'; add -device ahci,id=${name}`);
      return this.put(option, ports, Number(bus), AHCI_PORTS, place);
    }
    const { units } = OWN[this.options.board];
    if (Number(bus) * units >= this.places)
      throw new UsageError(
        `${option},bus=${spec.bus}: ${this.options.board} has ${this.places / units} such buses, from ide.0 on; or write -device ahci,id=ID and bus=ID.N`,
      );
    this.put(option, this.own, Number(bus) * units + Math.min(spec.unit ?? 0, units - 1), this.places, place);
  }

  private free(option: string): number {
    for (let i = 0; i < this.places; i++) if (this.own[i] === undefined) return i;
    throw new UsageError(
      `${option}: ${this.options.board} has ${this.places} places for ATA drives, and they are taken; use virtio, or -device ahci`,
    );
  }

  private put(option: string, list: (AtaPlace | undefined)[], at: number, count: number, place: AtaPlace): void {
    if (at >= count) throw new UsageError(`${option}: there is no place ${at} for an ATA drive; there are ${count}`);
    if (list[at]) throw new UsageError(`${option}: place ${at} holds '${list[at].drive.name}'; give another index, bus or unit`);
    while (list.length < at) list.push(undefined);
    list[at] = place;
  }

  private createDrive(spec: Omit<AtaSpec, 'bus' | 'unit' | 'bootIndex'>): AtaDrive {
    const drive = this.options.drives.find(({ id }) => id === spec.drive);
    if (spec.drive !== undefined && drive === undefined)
      throw new UsageError(`-device ${spec.device},drive=${spec.drive}: no such drive; add -drive file=F,if=none,id=${spec.drive}`);
    const opened = drive && openDrive(spec.cd ? { ...drive, readOnly: true } : drive);
    if (opened) this.disks.push(opened);
    const disk = opened && this.media.guard(drive, opened, spec.errors);
    const name = spec.id ?? spec.drive ?? `cd${this.drives.length}`;
    const serial = spec.serial ?? drive?.serial;
    const common = { name, ...(serial === undefined ? {} : { serial }) };
    const made = spec.cd
      ? this.createCd(common, disk, drive)
      : new AtaDisk({ ...common, disk: disk!, ...(spec.model === undefined ? {} : { model: spec.model }) });
    this.drives.push(made);
    return made;
  }

  private createCd(
    common: { readonly name: string; readonly serial?: string },
    disk: BlockBackend | undefined,
    medium: DriveSpec | undefined,
  ): CdDrive {
    const { media } = this;
    const cd = new CdDrive({ ...common, ...(disk ? { medium: disk } : {}), onTray: (open) => media.onTray(common.name, open) });
    media.addCd(cd.drive, medium);
    return cd;
  }
}
