import { DeviceError } from '@nestvm/devices';
import { VirtioConsole, type VirtioDevice, VirtioScsi } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import { assertKeys } from '../options/text.js';
import type { ConsoleSpec } from '../options/virtio/console.js';
import type { ScsiSpec } from '../options/virtio/scsi.js';
import { type VirtioSpec, virtioChildren } from '../options/virtio.js';
import { plugPort } from './console.js';
import type { VirtioContext } from './context.js';
import { createUnit } from './scsi.js';

/** What children are plugged into: the devices that there are, with what they were made from. */
export interface Parents {
  readonly context: VirtioContext;
  readonly devices: ReadonlyMap<VirtioSpec, VirtioDevice>;
  /** Throws `UsageError` where a device has the drive. */
  assertFree(drive: string | undefined): void;
}

/** Takes a child out and closes what it had. */
type Removal = () => void;

/** SCSI units and serial ports that come and go while the machine runs. */
export class Children {
  private readonly removals = new Map<string, Removal>();
  private count = 0;

  constructor(private readonly parents: Parents) {}

  /** Plugs one in, by the words of `-device`; throws `UsageError`, and nothing of it is left then. */
  add(driver: string, values: ReadonlyMap<string, string>): void {
    const row = virtioChildren[driver]!;
    const option = `device_add ${driver}`;
    assertKeys(option, values, row.properties);
    const id = values.get('id') ?? `${driver}#${this.count++}`;
    if (this.removals.has(id)) throw new UsageError(`${option}: there is a device '${id}' already; give this one another name (id=)`);
    const { context, devices } = this.parents;
    const closers: (() => void)[] = [];
    const parent = row.attach([...devices.keys()], option, values, context.options.characters);
    try {
      this.removals.set(id, this.plug(parent, { ...context, onClose: (close) => void closers.push(close) }, closers));
    } catch (error) {
      for (const close of closers) close();
      if (parent.kind === 'scsi') parent.units.pop();
      else parent.ports.pop();
      if (error instanceof DeviceError) throw new UsageError(`${option}: ${error.message}`);
      throw error;
    }
  }

  /** Takes one out; false when there is none of this name. */
  remove(id: string): boolean {
    const removal = this.removals.get(id);
    this.removals.delete(id);
    removal?.();
    return removal !== undefined;
  }

  close(): void {
    for (const id of this.removals.keys()) this.remove(id);
  }

  /** Puts in what has just joined its parent's list. */
  private plug(parent: ScsiSpec | ConsoleSpec, context: VirtioContext, closers: readonly (() => void)[]): Removal {
    const close = (): void => {
      for (const each of closers) each();
    };
    const device = [...this.parents.devices].find(([spec]) => spec === parent)?.[1];
    if (parent.kind === 'scsi' && device instanceof VirtioScsi) {
      const unit = parent.units.at(-1)!;
      this.parents.assertFree(unit.drive);
      device.plug({ ...unit, device: createUnit(unit, context) });
      return () => {
        device.unplug(unit);
        parent.units.splice(parent.units.indexOf(unit), 1);
        close();
      };
    }
    if (parent.kind === 'console' && device instanceof VirtioConsole) {
      const port = parent.ports.at(-1)!;
      plugPort(device, port, context);
      return () => {
        device.unplug(port.number);
        parent.ports.splice(parent.ports.indexOf(port), 1);
        close();
      };
    }
    throw new UsageError('device_add: nothing to plug it into');
  }
}
