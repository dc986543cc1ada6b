import type { Device } from '@nestvm/bus';
import { type Display, isDisplay } from '@nestvm/devices/display';
import type { PciHost } from '@nestvm/devices/platform';
import { type VirtioDevice, VirtioMmio, VirtioPci } from '@nestvm/devices/virtio';
import type { BoardPart } from './boards.js';
import { MachineError } from './errors.js';

/** A virtio device and how the guest reaches it. */
export interface VirtioConfig {
  /** The device, with its backend; its name is that of its unit in snapshots. */
  readonly device: VirtioDevice;
  /** Transport (default PCI where the board has it). */
  readonly bus?: 'pci' | 'mmio';
  /** PCI: interfaces (default both where the type has both). */
  readonly mode?: 'transitional' | 'modern' | 'legacy';
  /** PCI: MSI-X vectors (default one for each queue and one more). */
  readonly vectors?: number;
  /** PCI: slot (default the first free one). */
  readonly slot?: number;
  /** PCI: when firmware tries it, before what has none. */
  readonly bootIndex?: number;
  /** PCI: the same for units of a SCSI host. */
  readonly bootUnits?: readonly { readonly target: number; readonly unit: number; readonly bootIndex: number }[];
}

/** Where a device on the MMIO transport is. */
export interface VirtioMmioPlace {
  readonly base: number;
  readonly gsi: number;
}

const MMIO_BASE = 0xfec1_0000;
const MMIO_STRIDE = 0x1000;
const MMIO_DEVICES = 64;
const FIRST_GSI = 16;

/** Where the devices on the MMIO transport are: the first half of the I/O APIC's free pins, which no board gives to PCI slots in use. */
export const virtioMmioPlaces = (configs: readonly VirtioConfig[], pci: boolean): VirtioMmioPlace[] =>
  configs
    .filter(({ bus }) => (bus ?? (pci ? 'pci' : 'mmio')) === 'mmio')
    .map((_, i) => ({ base: MMIO_BASE + i * MMIO_STRIDE, gsi: FIRST_GSI + (i % 4) }));

/** What devices are plugged into. */
export interface VirtioSockets {
  readonly host: PciHost | undefined;
  readonly parts: ReadonlySet<BoardPart>;
  readonly add: (device: Device) => unknown;
  /** Told of devices that show a picture. */
  readonly show: (display: Display) => unknown;
  /** Something happened outside of the vCPUs: ends a sleep. */
  readonly wake: () => void;
  /** Notes that firmware shall try a device, by its path. */
  readonly order: (bootIndex: number | undefined, path: string) => void;
}

/** What a device is in the paths of firmware, by its type. */
const PATH_NODES: Readonly<Record<number, readonly [node: string, unit: string]>> = {
  1: ['ethernet', 'ethernet-phy@0'],
  2: ['scsi', 'disk@0,0'],
  8: ['scsi', ''],
};

/** Plugs virtio devices in; throws `MachineError` (`bad-option`) for what the board lacks, and `DeviceError` for slots that are taken. */
export function addVirtio(configs: readonly VirtioConfig[], sockets: VirtioSockets): void {
  const { host, parts, add } = sockets;
  const places = virtioMmioPlaces(configs, host !== undefined);
  if (places.length > MMIO_DEVICES) throw new MachineError('bad-option', `machine: ${places.length} virtio-mmio devices; at most ${MMIO_DEVICES}`);
  const names = new Set<string>();
  for (const config of configs) {
    const { device, bus } = config;
    if (names.has(device.name)) throw new MachineError('bad-option', `machine: two devices are named '${device.name}'; give one another name (id=)`);
    names.add(device.name);
    device.onActivity = sockets.wake;
    if (isDisplay(device)) sockets.show(device);
    if ((bus ?? (host ? 'pci' : 'mmio')) === 'pci') {
      addCard(config, sockets);
      continue;
    }
    if (!parts.has('ioapic')) throw new MachineError('bad-option', `machine: the board has no I/O APIC for '${device.name}'; use another board`);
    const { base, gsi } = places.shift()!;
    add(new VirtioMmio({ device, base, line: `gsi:${gsi}` }));
  }
}

/** Puts a device on PCI, and tells firmware of it; the card and its slot. */
export function addCard(config: VirtioConfig, { host, add, order }: Pick<VirtioSockets, 'host' | 'add' | 'order'>): VirtioCard {
  const { device, mode, vectors, slot, bootIndex, bootUnits = [] } = config;
  if (host === undefined) throw new MachineError('bad-option', `machine: the board has no PCI for '${device.name}'; put it on the MMIO transport`);
  const card = new VirtioPci({ device, ...(mode ? { mode } : {}), ...(vectors === undefined ? {} : { vectors }) });
  const at = slot ?? host.freeSlot(2);
  host.add(at, card.pci);
  add(card);
  const [node, unit] = PATH_NODES[device.type] ?? ['pci', ''];
  const path = `/pci@i0cf8/${node}@${at.toString(16)}`;
  order(bootIndex, `${path}${unit && '/'}${unit}`);
  for (const each of bootUnits) order(each.bootIndex, `${path}/channel@0/disk@${each.target.toString(16)},${each.unit.toString(16)}`);
  return { config: { ...config, slot: at }, card, slot: at };
}

/** A device on PCI. */
export interface VirtioCard {
  readonly config: VirtioConfig;
  readonly card: VirtioPci;
  readonly slot: number;
}
