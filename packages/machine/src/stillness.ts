/** A device to which things come from outside of the machine. */
interface Reachable {
  freeze(): void;
  thaw(): void;
}

const isReachable = (device: object): device is Reachable => 'freeze' in device && 'thaw' in device;

/**
 * While no vCPU runs nothing changes: frames, ends of requests and keys wait. Else a snapshot, which takes its time, would have memory of one moment and
 * devices of another.
 */
export class Stillness {
  private readonly devices: readonly Reachable[];

  constructor(devices: readonly object[]) {
    this.devices = devices.filter(isReachable);
  }

  begin(): void {
    for (const device of this.devices) device.freeze();
  }

  end(): void {
    for (const device of this.devices) device.thaw();
  }
}
