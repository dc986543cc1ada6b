import { CdDrive } from '@nestvm/devices/ata';
import type { Machine } from '@nestvm/machine';
import type { VirtioSpec } from '../options/virtio.js';
import { PCI, PCI_CLASSES } from './maps.js';
import type { MonitorTarget } from './target.js';

interface TreeDevice {
  readonly type: string;
  readonly id?: string | undefined;
  readonly lines: readonly string[];
  readonly buses: readonly TreeBus[];
}

interface TreeBus {
  readonly name: string;
  readonly type: string;
  readonly devices: readonly TreeDevice[];
}

type PciFunction = NonNullable<NonNullable<Machine['platform']['pci']>['functions'][number]>;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');

/** Names of QEMU for the kinds of virtio devices. */
const STEMS: Readonly<Record<Exclude<VirtioSpec['kind'], 'input'>, string>> = {
  block: 'virtio-blk',
  network: 'virtio-net',
  entropy: 'virtio-rng',
  console: 'virtio-serial',
  balloon: 'virtio-balloon',
  vsock: 'vhost-vsock',
  scsi: 'virtio-scsi',
  files: 'virtio-9p',
  graphics: 'virtio-gpu',
};

const stemOf = (spec: VirtioSpec): string => (spec.kind === 'input' ? `virtio-${spec.input}` : STEMS[spec.kind]);

/** What says which device it is, or is shown otherwise. */
const NOT_SHOWN: ReadonlySet<string> = new Set(['id', 'kind', 'bus', 'slot', 'input', 'console']);

/** What a device was told, as QEMU shows properties. */
function propertyLines(spec: object): string[] {
  return Object.entries(spec).flatMap(([key, value]: [string, unknown]) => {
    if (NOT_SHOWN.has(key)) return [];
    const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (typeof value === 'number') return [`${name} = ${value} (0x${value.toString(16)})`];
    if (typeof value === 'string') return [`${name} = "${value}"`];
    return typeof value === 'boolean' ? [`${name} = ${value}`] : [];
  });
}

const leaf = (type: string, spec: { readonly id?: string }): TreeDevice => ({ type, id: spec.id, lines: propertyLines(spec), buses: [] });

/** What is plugged into a virtio device. */
function childBuses(spec: VirtioSpec, name: string): TreeBus[] {
  if (spec.kind === 'scsi')
    return [{ name: `${name}.0`, type: 'SCSI', devices: spec.units.map((unit) => leaf(unit.kind === 'cd' ? 'scsi-cd' : 'scsi-hd', unit)) }];
  if (spec.kind === 'console')
    return [
      {
        name: `${name}.0`,
        type: 'virtio-serial-bus',
        devices: spec.ports.map((port) => leaf(port.console ? 'virtconsole' : 'virtserialport', port)),
      },
    ];
  return [];
}

const virtioBus = (spec: VirtioSpec, name: string, bus: string, type: string): TreeBus => ({
  name: bus,
  type,
  devices: [{ type: `${stemOf(spec)}-device`, id: '', lines: propertyLines(spec), buses: childBuses(spec, spec.id ?? name) }],
});

function barLines({ bars }: PciFunction, barBase: (bar: PciFunction['bars'][number]) => number): string[] {
  return bars.map((bar) => {
    const { index, kind, size } = bar.options;
    const base = barBase(bar);
    return `bar ${index}: ${kind === 'io' ? 'i/o' : 'mem'} at 0x${hex(base, 0)} [0x${hex(base + size - 1, 0)}]`;
  });
}

/** The drives of an ATA controller. */
function driveBuses({ config: { ata } }: Machine, controller: string): TreeBus[] {
  const further = ata?.ahci?.find(({ name }) => name === controller)?.ports;
  const places = further ?? (controller === 'ide' || controller === 'ahci' ? ata?.board : undefined);
  const devices = (places ?? []).flatMap((place, i): TreeDevice[] =>
    place ? [{ type: place.drive instanceof CdDrive ? 'ide-cd' : 'ide-hd', id: place.drive.name, lines: [`place = ${i}`], buses: [] }] : [],
  );
  return devices.length === 0 ? [] : [{ name: controller, type: 'IDE', devices }];
}

/** A function on the PCI bus, with the virtio device that it carries. */
function pciDevice(machine: Machine, at: PciFunction, devfn: number, virtio: ReadonlyMap<string, VirtioSpec>): TreeDevice {
  const word = (offset: number): number => at.get16(offset);
  const [slot, number] = [hex(devfn >> 3, 2), devfn & 7];
  const name = at.name.replace(/[/ ]pci$/, '');
  const spec = virtio.get(name);
  const ids = `pci id ${hex(word(PCI.VENDOR), 4)}:${hex(word(PCI.DEVICE), 4)} (sub ${hex(word(PCI.SUBSYSTEM_VENDOR), 4)}:${hex(word(PCI.SUBSYSTEM), 4)})`;
  return {
    type: spec ? `${stemOf(spec)}-pci` : name,
    id: spec?.id,
    lines: [
      `addr = ${slot}.${number}`,
      `class ${PCI_CLASSES[word(PCI.CLASS)] ?? `Class ${hex(word(PCI.CLASS), 4)}`}, addr 00:${slot}.${number}, ${ids}`,
      ...barLines(at, ({ options }) => at.barBase(options)),
    ],
    buses: spec ? [virtioBus(spec, name, 'virtio-bus', 'virtio-pci-bus')] : driveBuses(machine, name),
  };
}

/** What answers at addresses under a device's name. */
function regionLines(machine: Machine, name: string): string[] {
  const own = (region: { readonly name: string }): boolean => region.name === name || region.name.startsWith(`${name}-`);
  return [
    ...machine.mmio.list().flatMap((each) => (own(each) ? [`mmio ${hex(each.base, 16)}/${hex(each.size, 16)}`] : [])),
    ...machine.ports.list().flatMap((each) => (own(each) ? [`i/o ${hex(each.base, 4)}/${hex(each.size, 4)}`] : [])),
  ];
}

function systemBus(machine: Machine, virtio: ReadonlyMap<string, VirtioSpec>): TreeBus {
  const { platform, config } = machine;
  const { pci } = platform;
  const functions = (pci?.functions ?? []).flatMap((each, devfn) => (each ? [pciDevice(machine, each, devfn, virtio)] : []));
  const carried = new Set((pci?.functions ?? []).flatMap((each) => (each ? [each.name.replace(/[/ ]pci$/, '')] : [])));
  const express = config.board === 'q35';
  const bus: TreeBus = { name: express ? 'pcie.0' : 'pci.0', type: express ? 'PCIE' : 'PCI', devices: functions };
  const devices = platform.devices.flatMap((device): TreeDevice[] => {
    const { name } = device;
    if (carried.has(name)) return [];
    const spec = virtio.get(name);
    const lines = regionLines(machine, name);
    if (spec) return [{ type: 'virtio-mmio', id: '', lines, buses: [virtioBus(spec, name, 'virtio-mmio-bus', 'virtio-mmio-bus')] }];
    return [{ type: name, lines, buses: device === (pci as unknown) ? [bus] : driveBuses(machine, name) }];
  });
  return { name: 'main-system-bus', type: 'System', devices };
}

function busLines({ name, type, devices }: TreeBus): string[] {
  return [`bus: ${name}`, `  type ${type}`, ...devices.flatMap(deviceLines).map((line) => `  ${line}`)];
}

function deviceLines({ type, id = '', lines, buses }: TreeDevice): string[] {
  return [`dev: ${type}, id "${id}"`, ...[...lines, ...buses.flatMap(busLines)].map((line) => `  ${line}`)];
}

/** `info qtree`: buses and the devices on them, in QEMU's form. */
export function deviceTree(target: MonitorTarget): string[] {
  const virtio = new Map([...target.plugging.devices].map(([spec, device]) => [device.name, spec]));
  return busLines(systemBus(target.machine(), virtio));
}
