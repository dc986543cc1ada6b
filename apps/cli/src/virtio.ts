import type { VirtioDevice } from '@nestvm/devices/virtio';
import type { VirtioConfig } from '@nestvm/machine';
import type { Characters } from './characters/parts.js';
import type { Media } from './media.js';
import type { RunOptions } from './options/config.js';
import type { VirtioSpec } from './options/virtio.js';
import { createBalloon } from './virtio/balloon.js';
import { createBlock } from './virtio/block.js';
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
  private readonly openers: (() => Promise<void>)[] = [];
  private readonly closers: (() => void)[] = [];

  /** Makes what the options name; throws `UsageError`. What is open by then stays so until `close`. */
  create(options: RunOptions, characters: Characters, media: Media): void {
    const context: VirtioContext = {
      options,
      characters,
      media,
      onOpen: (open) => void this.openers.push(open),
      onClose: (close) => void this.closers.push(close),
    };
    const creators = creatorsOf(context);
    for (const spec of specsOf(options)) this.plug(spec, creators, context);
  }

  /** Opens the sockets of networks; rejects with `UsageError`. */
  async open(): Promise<void> {
    for (const open of this.openers) await open();
  }

  close(): void {
    for (const close of this.closers.splice(0)) close();
  }

  private plug(spec: VirtioSpec, creators: Creators, context: VirtioContext): void {
    const { bus, mode, vectors, slot, bootIndex } = spec;
    // Each creator takes the specs of its own kind, which the lookup by kind ensures.
    const create = creators[spec.kind] as (spec: VirtioSpec, name: string, context: VirtioContext) => VirtioDevice;
    this.configs.push({
      device: create(spec, spec.id ?? `virtio${this.configs.length}`, context),
      bus,
      ...(mode ? { mode } : {}),
      ...(vectors === undefined ? {} : { vectors }),
      ...(slot === undefined ? {} : { slot }),
      ...(bootIndex === undefined ? {} : { bootIndex }),
      ...(spec.kind === 'scsi' ? { bootUnits: spec.units.flatMap(bootUnitOf) } : {}),
    });
  }
}

/** A unit that firmware is to try. */
const bootUnitOf = ({ target, unit, bootIndex }: Extract<VirtioSpec, { kind: 'scsi' }>['units'][number]): NonNullable<VirtioConfig['bootUnits']> =>
  bootIndex === undefined ? [] : [{ target, unit, bootIndex }];

/** The drives that a device has. */
const drivesOf = (spec: VirtioSpec): (string | undefined)[] =>
  spec.kind === 'block' ? [spec.drive] : spec.kind === 'scsi' ? spec.units.map(({ drive }) => drive) : [];

/** The devices of `-device`, those of `-nic`, and those of drives that nobody else has. */
function specsOf({ board, devices, networks, folders, drives }: RunOptions): VirtioSpec[] {
  const transport = { bus: board === 'pc' || board === 'q35' ? 'pci' : 'mmio', packed: false } as const;
  const used = new Set(devices.virtio.flatMap(drivesOf));
  return [
    ...devices.virtio,
    ...networks.nics.map(
      ({ netdev, mac }): VirtioSpec => ({
        ...transport,
        kind: 'network',
        netdev,
        multiqueue: false,
        queueSize: 256,
        ...(mac === undefined ? {} : { mac }),
      }),
    ),
    ...folders.flatMap(({ id, tag }): VirtioSpec[] => (tag === undefined ? [] : [{ ...transport, kind: 'files', fsdev: id, tag }])),
    ...drives
      .filter(({ plugged, id }) => plugged && !used.has(id))
      .map(({ id }): VirtioSpec => ({ ...transport, kind: 'block', drive: id, queues: 1, queueSize: 256 })),
  ];
}
