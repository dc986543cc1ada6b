import type { VirtioDevice } from '@nestvm/devices/virtio';
import type { VirtioConfig } from '@nestvm/machine';
import type { Characters } from './characters/parts.js';
import { UsageError } from './errors.js';
import type { Media } from './media.js';
import { NetworkParts } from './networks/parts.js';
import type { RunOptions } from './options/config.js';
import { withGlobals } from './options/globals.js';
import { type VirtioSpec, virtioDevices } from './options/virtio.js';
import { createBalloon } from './virtio/balloon.js';
import { createBlock } from './virtio/block.js';
import { Children } from './virtio/children.js';
import { createConsole } from './virtio/console.js';
import type { VirtioContext } from './virtio/context.js';
import { createEntropy } from './virtio/entropy.js';
import { createFiles } from './virtio/files.js';
import { createGraphics } from './virtio/graphics.js';
import { createInput } from './virtio/input.js';
import { Cards } from './virtio/network.js';
import { createScsi } from './virtio/scsi.js';
import { createVsock } from './virtio/vsock.js';

/** How each type of device is made from its options; throws `UsageError`. */
type Creators = {
  readonly [Kind in VirtioSpec['kind']]: (spec: Extract<VirtioSpec, { kind: Kind }>, name: string, context: VirtioContext) => VirtioDevice;
};

function creatorsOf(context: VirtioContext): Creators {
  const cards = new Cards(context);
  return {
    block: createBlock,
    network: (spec, name) => cards.create(spec, name),
    entropy: createEntropy,
    console: createConsole,
    balloon: createBalloon,
    vsock: createVsock,
    scsi: createScsi,
    files: createFiles,
    input: createInput,
    graphics: createGraphics,
  };
}

/** The virtio devices of a run, and the files and sockets under them. */
export class VirtioParts {
  readonly configs: VirtioConfig[] = [];
  readonly networks = new NetworkParts();
  private openers: (() => Promise<void>)[] = [];
  private closers: (() => void)[] = [];
  /** Of devices that can go, what ends with them. */
  private readonly owned = new Map<string, { readonly spec: VirtioSpec; readonly closers: (() => void)[] }>();
  private context!: VirtioContext;
  private creators!: Creators;
  private readonly made = new Map<VirtioSpec, VirtioDevice>();
  private children!: Children;
  private count = 0;

  /** Makes what the options name; throws `UsageError`. What is open by then stays so until `close`. */
  create(options: RunOptions, characters: Characters, media: Media): void {
    this.context = {
      options,
      characters,
      media,
      networks: this.networks,
      onOpen: (open) => void this.openers.push(open),
      onClose: (close) => void this.closers.push(close),
    };
    this.creators = creatorsOf(this.context);
    this.children = new Children({ context: this.context, devices: this.made, assertFree: (drive) => this.assertFree(drive, 1) });
    for (const spec of specsOf(options)) this.configs.push(this.createConfig(spec));
  }

  /** Every device, with what it was made from. */
  get devices(): ReadonlyMap<VirtioSpec, VirtioDevice> {
    return this.made;
  }

  /** Opens the sockets of networks; rejects with `UsageError`. */
  async open(): Promise<void> {
    for (const open of this.openers) await open();
  }

  close(): void {
    this.children?.close();
    for (const close of [...[...this.owned.values()].flatMap(({ closers }) => closers), ...this.closers.splice(0)]) close();
    this.owned.clear();
  }

  /** Makes one more device, as for `plug`, which puts it into the machine; rejects with `UsageError`, and nothing of it is left then. */
  async add(spec: VirtioSpec, plug: (config: VirtioConfig) => void): Promise<void> {
    for (const drive of drivesOf(spec)) this.assertFree(drive, 0);
    const [openers, closers] = [this.openers, this.closers];
    const own: (() => void)[] = [];
    this.openers = [];
    this.closers = own;
    try {
      const config = this.createConfig(spec);
      const opening = this.openers;
      for (const open of opening) await open();
      plug(config);
      this.owned.set(config.device.name, { spec, closers: own });
    } catch (error) {
      for (const close of own) close();
      this.made.delete(spec);
      throw error;
    } finally {
      this.openers = openers;
      this.closers = closers;
    }
  }

  /** A device has gone: closes what it had. */
  gone(name: string): void {
    for (const close of this.owned.get(name)?.closers ?? []) close();
    this.owned.delete(name);
    for (const [spec, device] of this.made) if (device.name === name) this.made.delete(spec);
  }

  /** Puts a unit or a port into a device; throws `UsageError`. */
  addChild(driver: string, values: ReadonlyMap<string, string>): void {
    this.children.add(driver, values);
  }

  /** Takes one out; false when there is none of this name. */
  removeChild(id: string): boolean {
    return this.children.remove(id);
  }

  /** Throws `UsageError` where more than `own` devices have a drive. */
  private assertFree(drive: string | undefined, own: number): void {
    if (drive === undefined) return;
    const { drives, devices } = this.context.options;
    const users = [
      ...[...this.made.keys()].flatMap(drivesOf),
      ...devices.ata.map((each) => each.drive),
      ...drives.filter(({ ata, flash }) => ata !== undefined || flash !== undefined).map(({ id }) => id),
    ];
    if (users.filter((user) => user === drive).length > own) throw new UsageError(`device_add: another device has the drive '${drive}'`);
  }

  private createConfig(spec: VirtioSpec): VirtioConfig {
    const { bus, mode, vectors, slot, bootIndex } = spec;
    // Each creator takes the specs of its own kind, which the lookup by kind ensures.
    const create = this.creators[spec.kind] as (spec: VirtioSpec, name: string, context: VirtioContext) => VirtioDevice;
    const device = create(spec, spec.id ?? `virtio${this.count++}`, this.context);
    for (const { bit, offered } of spec.features) device.setOffered(bit, offered);
    this.made.set(spec, device);
    return {
      device,
      bus,
      ...(mode ? { mode } : {}),
      ...(vectors === undefined ? {} : { vectors }),
      ...(slot === undefined ? {} : { slot }),
      ...(bootIndex === undefined ? {} : { bootIndex }),
      ...(spec.kind === 'scsi' ? { bootUnits: spec.units.flatMap(bootUnitOf) } : {}),
    };
  }
}

/** A unit that firmware is to try. */
const bootUnitOf = ({ target, unit, bootIndex }: Extract<VirtioSpec, { kind: 'scsi' }>['units'][number]): NonNullable<VirtioConfig['bootUnits']> =>
  bootIndex === undefined ? [] : [{ target, unit, bootIndex }];

/** The drives that a device has. */
const drivesOf = (spec: VirtioSpec): (string | undefined)[] =>
  spec.kind === 'block' ? [spec.drive] : spec.kind === 'scsi' ? spec.units.map(({ drive }) => drive) : [];

/** The devices of `-device`, those of `-nic`, and those of drives that nobody else has. */
function specsOf({ board, characters, devices, folders, drives, globals, networks }: RunOptions): VirtioSpec[] {
  const bus = board === 'pc' || board === 'q35' ? 'pci' : 'device';
  const create = (stem: string, values: Readonly<Record<string, string | undefined>>): VirtioSpec => {
    const name = `${stem}-${bus}`;
    const given = new Map(Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])));
    return virtioDevices[name]!.parse(withGlobals(globals, name, given), characters);
  };
  const used = new Set(devices.virtio.flatMap(drivesOf));
  return [
    ...devices.virtio,
    ...networks.nics.map(({ netdev, mac }) => create('virtio-net', { netdev, mac })),
    ...folders.flatMap(({ id, tag }) => (tag === undefined ? [] : [create('virtio-9p', { fsdev: id, mount_tag: tag })])),
    ...drives.filter(({ plugged, id }) => plugged && !used.has(id)).map(({ id }) => create('virtio-blk', { drive: id })),
  ];
}
