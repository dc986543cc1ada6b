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
  /** `devices`: those that are plugged in at that moment. */
  constructor(private readonly devices: () => readonly object[]) {}

  begin(): void {
    for (const device of this.reachable()) device.freeze();
  }

  end(): void {
    for (const device of this.reachable()) device.thaw();
  }

  private reachable(): readonly Reachable[] {
    return this.devices().filter(isReachable);
  }
}
