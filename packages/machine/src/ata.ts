import type { Device } from '@nestvm/bus';
import { AhciController, type AtaDrive, IdeController } from '@nestvm/devices/ata';
import type { PciHost } from '@nestvm/devices/platform';
import type { Board } from './boards.js';
import { MachineError } from './errors.js';

/** A drive in its place. */
export interface AtaPlace {
  readonly drive: AtaDrive;
  /** When firmware tries it, before what has none. */
  readonly bootIndex?: number;
}

/** ATA drives and their controllers. */
export interface AtaConfig {
  /** Drives of the board's own controller: IDE (four, two on each channel) on `pc` and `isapc`, AHCI (six ports) on `q35`. */
  readonly board?: readonly (AtaPlace | undefined)[];
  /** Further AHCI controllers, by the drives on their ports. */
  readonly ahci?: readonly { readonly name: string; readonly ports: readonly (AtaPlace | undefined)[] }[];
}

/** What controllers are plugged into. */
export interface AtaSockets {
  readonly board: Board;
  readonly host: PciHost | undefined;
  readonly add: (device: Device) => unknown;
  readonly wake: () => void;
  /** Notes that firmware shall try a drive, by its path. */
  readonly order: (bootIndex: number | undefined, path: string) => void;
}

/** Where the boards have their controllers: slot and function. */
const PIIX3_IDE = { slot: 1, function: 1 } as const;
const ICH9_AHCI = { slot: 31, function: 2 } as const;
const AHCI_PORTS = 6;
const IDE_DRIVES = 4;

const drivesOf = (places: readonly (AtaPlace | undefined)[], count: number): (AtaDrive | undefined)[] =>
  Array.from({ length: Math.max(count, places.length) }, (_, i) => places[i]?.drive);

/** Plugs controllers in; throws `MachineError` (`bad-option`) for what the board lacks. */
export function addAta({ board: own = [], ahci = [] }: AtaConfig, sockets: AtaSockets): void {
  const { board, host } = sockets;
  if (own.length > 0) {
    if (board.name === 'microvm') throw new MachineError('bad-option', 'machine: microvm has no ATA controller; use virtio disks, or another board');
    if (board.chipset === 'q35') addAhci('ahci', own, ICH9_AHCI, sockets);
    else addIde(own, sockets);
  }
  for (const { name, ports } of ahci) {
    if (host === undefined) throw new MachineError('bad-option', `machine: the board has no PCI for '${name}'; use pc or q35`);
    addAhci(name, ports, { slot: host.freeSlot(2), function: 0 }, sockets);
  }
}

function addIde(places: readonly (AtaPlace | undefined)[], { host, add, wake, order }: AtaSockets): void {
  if (places.length > IDE_DRIVES) throw new MachineError('bad-option', `machine: ${places.length} IDE drives; there is room for ${IDE_DRIVES}`);
  const controller = new IdeController('ide', drivesOf(places, IDE_DRIVES));
  controller.onActivity = wake;
  add(controller);
  host?.add(PIIX3_IDE.slot, controller.pci, PIIX3_IDE.function);
  const path = host ? '/pci@i0cf8/ide@1,1' : '/ide@1f0';
  places.forEach((place, i) => order(place?.bootIndex, `${path}/drive@${i >> 1}/disk@${i & 1}`));
}

interface PciPlace {
  readonly slot: number;
  readonly function: number;
}

function addAhci(name: string, places: readonly (AtaPlace | undefined)[], at: PciPlace, { host, add, wake, order }: AtaSockets): void {
  const controller = new AhciController(name, drivesOf(places, AHCI_PORTS));
  controller.onActivity = wake;
  add(controller);
  host!.add(at.slot, controller.pci, at.function);
  const suffix = at.function === 0 ? '' : `,${at.function.toString(16)}`;
  places.forEach((place, i) => order(place?.bootIndex, `/pci@i0cf8/pci8086,2922@${at.slot.toString(16)}${suffix}/drive@${i}/disk@0`));
}
