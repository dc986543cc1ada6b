import { DeviceError } from '@nestvm/devices';
import type { VirtioDevice } from '@nestvm/devices/virtio';
import { type Hotplug, type Machine, MachineError } from '@nestvm/machine';
import { UsageError } from './errors.js';
import type { RunOptions } from './options/config.js';
import { takeOnly, virtioOnly } from './options/only.js';
import { assertKeys } from './options/text.js';
import { type VirtioSpec, virtioChildren, virtioDevices } from './options/virtio.js';
import type { VirtioParts } from './virtio.js';

/** Devices that come and go while the machine runs (`device_add`, `device_del`). */
export class Plugging {
  /** Told when a device has gone. */
  onGone: (name: string) => void = () => {};

  constructor(
    private readonly options: RunOptions,
    private readonly parts: VirtioParts,
    private readonly machine: () => Machine,
  ) {}

  /** The virtio devices that there are, with what they were made from. */
  get devices(): ReadonlyMap<VirtioSpec, VirtioDevice> {
    return this.parts.devices;
  }

  /** Plugs a device in, by the words of `-device`; rejects with `UsageError`. */
  async add(driver: string, given: ReadonlyMap<string, string>): Promise<void> {
    const values = new Map(given);
    if (Object.hasOwn(virtioChildren, driver)) return this.parts.addChild(driver, values);
    const row = Object.hasOwn(virtioDevices, driver) ? virtioDevices[driver] : undefined;
    if (row === undefined)
      throw new UsageError(
        `device_add ${driver}: only virtio devices on PCI, scsi-hd, scsi-cd, virtserialport and virtconsole can be plugged in while the machine runs`,
      );
    takeOnly(`device_add ${driver}`, values, virtioOnly);
    assertKeys(`device_add ${driver}`, values, row.properties);
    const spec = row.parse(values, this.options.characters);
    await this.parts.add(spec, (config) => {
      const { hotplug } = this;
      this.explained(() => hotplug.plug(config));
    });
  }

  /** Asks the guest to let go of a device; throws `UsageError` where there is none. */
  remove(id: string): void {
    if (this.parts.removeChild(id)) return this.onGone(id);
    const { hotplug } = this;
    this.explained(() => hotplug.unplug(id));
  }

  private get hotplug(): Hotplug {
    const hotplug = this.explained(() => this.machine().hotplug);
    // The guest may let go by itself, too.
    hotplug.onUnplugged = (name) => {
      this.parts.gone(name);
      this.onGone(name);
    };
    return hotplug;
  }

  private explained<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      if (error instanceof MachineError || error instanceof DeviceError) throw new UsageError(error.message.replace(/^machine: /, ''));
      throw error;
    }
  }
}
