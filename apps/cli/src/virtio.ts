import { randomFillSync } from 'node:crypto';
import { type BlockBackend, OverlayDisk, VirtioBlock, type VirtioDevice, VirtioEntropy } from '@nestvm/devices/virtio';
import type { VirtioConfig } from '@nestvm/machine';
import { FileDisk } from './disk.js';
import { UsageError } from './errors.js';
import type { RunOptions } from './options/config.js';
import type { DriveSpec } from './options/drives.js';
import type { VirtioSpec } from './options/virtio.js';

/** The virtio devices of a run, and the files under them. */
export class VirtioParts {
  readonly configs: VirtioConfig[] = [];
  private readonly files: FileDisk[] = [];
  private options!: RunOptions;

  /** Opens what the options name; throws `UsageError`. What is open by then stays so until `close`. */
  create(options: RunOptions): void {
    this.options = options;
    const used = new Set<string>();
    for (const spec of options.devices.virtio) {
      if (spec.kind === 'block') used.add(spec.drive);
      this.plug(spec);
    }
    for (const drive of options.drives) {
      if (drive.plugged && !used.has(drive.id))
        this.plug({ kind: 'block', drive: drive.id, bus: this.defaultBus, packed: false, queues: 1, queueSize: 256 });
    }
  }

  close(): void {
    for (const file of this.files) file.close();
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

  private openDisk({ option, path, readOnly, snapshot }: DriveSpec): BlockBackend {
    const file = new FileDisk(option, path, readOnly || snapshot);
    this.files.push(file);
    return snapshot && !readOnly ? new OverlayDisk(file) : file;
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
