import type { Device } from '@nestvm/bus';
import { isDisplay } from '@nestvm/devices/display';
import { type AcpiPm, PCI_HOTPLUG_GPE, PCI_HOTPLUG_PORTS, type PciHost, PciHotplug } from '@nestvm/devices/platform';
import { VirtioPci } from '@nestvm/devices/virtio';
import { MachineError } from './errors.js';
import { addCard, type VirtioConfig } from './virtio.js';

/** The board as hot plug needs it. */
export interface HotplugBoard {
  readonly chipset: 'i440fx' | 'q35';
  readonly host: PciHost;
  readonly pm: AcpiPm;
  /** Devices of the machine, which are reset and saved. */
  readonly devices: Device[];
  /** Virtio devices that the machine has now. */
  readonly virtio: VirtioConfig[];
  readonly attach: (device: Device) => void;
  /** Something happened outside of the vCPUs. */
  readonly wake: () => void;
}

/** Virtio devices on PCI that come and go while the machine runs, by ACPI, as on QEMU's boards. */
export class Hotplug {
  /** The controller that the guest sees. */
  readonly controller: PciHotplug;
  /** Told when the guest has let go of a device, and it is gone. */
  onUnplugged: ((name: string) => void) | null = null;
  private readonly board: HotplugBoard;

  constructor(board: HotplugBoard) {
    this.board = board;
    this.controller = new PciHotplug({
      base: PCI_HOTPLUG_PORTS[board.chipset],
      notify: () => {
        board.pm.setGpe(PCI_HOTPLUG_GPE);
        board.wake();
      },
      isRemovable: (slot) => this.cardIn(slot) !== undefined,
      onEject: (slot) => this.remove(slot),
    });
    board.host.setHotplug(this.controller);
  }

  /** Puts a device into a free slot and tells the guest; throws `MachineError` and `DeviceError`. */
  plug(config: VirtioConfig): void {
    const { device } = config;
    const { host, devices, virtio, attach, wake } = this.board;
    if (config.bus === 'mmio')
      throw new MachineError('bad-option', `machine: '${device.name}': only devices on PCI are plugged in while a machine runs`);
    if (isDisplay(device)) throw new MachineError('bad-option', `machine: '${device.name}': a graphics card is there from the start, or not at all`);
    if (devices.some(({ name }) => name === device.name))
      throw new MachineError('bad-option', `machine: there is a device '${device.name}' already; give this one another name (id=)`);
    device.onActivity = wake;
    const add = (card: Device): void => {
      attach(card);
      devices.push(card);
    };
    const { config: placed, slot } = addCard(config, { host, add, order: () => {} });
    virtio.push(placed);
    this.controller.filled(slot);
  }

  /** Asks the guest to let go of a device; throws `MachineError` when there is none of this name that can go. */
  unplug(name: string): void {
    for (let slot = 0; slot < 32; slot++) if (this.cardIn(slot)?.name === name) return this.controller.requestEject(slot);
    throw new MachineError('bad-option', `machine: there is no virtio device '${name}' on PCI that could be taken out`);
  }

  private cardIn(slot: number): VirtioPci | undefined {
    const there = this.board.host.functions[slot * 8];
    return this.board.devices.find((device): device is VirtioPci => device instanceof VirtioPci && device.pci === there && !isDisplay(device.device));
  }

  private remove(slot: number): void {
    const card = this.cardIn(slot);
    if (card === undefined) return;
    const { host, devices, virtio } = this.board;
    card.reset();
    host.remove(slot);
    devices.splice(devices.indexOf(card), 1);
    virtio.splice(
      virtio.findIndex(({ device }) => device === card.device),
      1,
    );
    this.onUnplugged?.(card.name);
  }
}
