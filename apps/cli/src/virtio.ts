import { randomFillSync } from 'node:crypto';
import { VirtioBlock, type VirtioDevice, VirtioEntropy, VirtioNetwork } from '@nestvm/devices/virtio';
import type { Disk } from '@nestvm/disks';
import type { VirtioConfig } from '@nestvm/machine';
import { openDisk } from './disk.js';
import { UsageError } from './errors.js';
import { NetworkParts } from './networks/parts.js';
import type { RunOptions } from './options/config.js';
import type { DriveSpec } from './options/drives.js';
import { assertNetwork } from './options/networks.js';
import type { VirtioSpec } from './options/virtio.js';

/** The virtio devices of a run, and the files under them. */
export class VirtioParts {
  readonly configs: VirtioConfig[] = [];
  private readonly disks: Disk[] = [];
  private readonly networks = new NetworkParts();
  private cards = 0;
  private options!: RunOptions;

  /** Opens what the options name; throws `UsageError`. What is open by then stays so until `close`. */
  create(options: RunOptions): void {
    this.options = options;
    this.networks.create(options.networks);
    const used = new Set<string>();
    for (const spec of options.devices.virtio) {
      if (spec.kind === 'block') used.add(spec.drive);
      this.plug(spec);
    }
    for (const { netdev, mac } of options.networks.nics) {
      const bus = this.defaultBus;
      this.plug({ kind: 'network', netdev, bus, packed: false, multiqueue: false, queueSize: 256, ...(mac === undefined ? {} : { mac }) });
    }
    for (const drive of options.drives) {
      if (drive.plugged && !used.has(drive.id))
        this.plug({ kind: 'block', drive: drive.id, bus: this.defaultBus, packed: false, queues: 1, queueSize: 256 });
    }
  }

  /** Opens the sockets of networks; rejects with `UsageError`. */
  open(): Promise<void> {
    return this.networks.open();
  }

  close(): void {
    for (const disk of this.disks) disk.close();
    this.networks.close();
  }

  private get defaultBus(): 'pci' | 'mmio' {
    return this.options.board === 'pc' || this.options.board === 'q35' ? 'pci' : 'mmio';
  }

  private plug(spec: VirtioSpec): void {
    const { bus, mode, vectors, slot } = spec;
    this.configs.push({
      device: this.createDevice(spec, spec.id ?? `virtio${this.configs.length}`),
      bus,
      ...(mode ? { mode } : {}),
      ...(vectors === undefined ? {} : { vectors }),
      ...(slot === undefined ? {} : { slot }),
    });
  }

  private createDevice(spec: VirtioSpec, name: string): VirtioDevice {
    const { packed } = spec;
    if (spec.kind === 'entropy') return new VirtioEntropy({ name, packed, fill: this.fill });
    if (spec.kind === 'network') return this.createCard(spec, name);
    const drive = this.options.drives.find(({ id }) => id === spec.drive);
    if (drive === undefined)
      throw new UsageError(`-device virtio-blk,drive=${spec.drive}: no such drive; add -drive file=F,if=none,id=${spec.drive}`);
    const serial = spec.serial ?? drive.serial;
    return new VirtioBlock({
      name,
      packed,
      disk: this.openDisk(drive),
      queues: spec.queues,
      queueSize: spec.queueSize,
      writeCache: spec.writeCache ?? drive.writeCache,
      ...(serial === undefined ? {} : { serial }),
    });
  }

  private openDisk(drive: DriveSpec): Disk {
    const disk = openDisk(drive);
    this.disks.push(disk);
    return disk;
  }

  private createCard(spec: Extract<VirtioSpec, { kind: 'network' }>, name: string): VirtioNetwork {
    const { netdev, mtu, multiqueue, queueSize, packed } = spec;
    const option = `-device virtio-net,netdev=${netdev}`;
    assertNetwork(option, netdev, this.options.networks.networks);
    const backend = this.networks.take(netdev);
    if (!backend) throw new UsageError(`${option}: another card or a hub has this network; give each its own -netdev`);
    const { sockets, cores, threads } = this.options.topology;
    const mac = spec.mac === undefined ? Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56 + this.cards++) : parseMac(option, spec.mac);
    return new VirtioNetwork({
      name,
      backend,
      mac,
      packed,
      queueSize,
      pairs: multiqueue ? Math.min(8, sockets * cores * threads) : 1,
      ...(mtu === undefined ? {} : { mtu }),
    });
  }

  /** Random bytes of the host; of a small generator while runs are to repeat. */
  private get fill(): (target: Uint8Array) => void {
    const { clock, seed } = this.options;
    if (clock.kind !== 'virtual' && seed === undefined) return (target) => void randomFillSync(target);
    let state = (seed ?? 1) | 1;
    return (target) => {
      for (let i = 0; i < target.length; i++) {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        target[i] = state >>> 11;
      }
    };
  }
}

function parseMac(option: string, text: string): Uint8Array {
  const bytes = text.split(/[:-]/).map((part) => (/^[0-9a-f]{1,2}$/i.test(part) ? parseInt(part, 16) : 256));
  if (bytes.length !== 6 || bytes.some((byte) => byte > 255) || bytes[0]! & 1)
    throw new UsageError(`${option},mac=${text}: not the address of one card; write 52:54:00:12:34:56`);
  return Uint8Array.from(bytes);
}
