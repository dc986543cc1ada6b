import type { CharacterSpec } from './character.js';
import { balloonRow } from './virtio/balloon.js';
import { blockRow } from './virtio/block.js';
import type { ChildRow } from './virtio/children.js';
import { type ConsoleSpec, consoleRow, portRows } from './virtio/console.js';
import { entropyRow } from './virtio/entropy.js';
import { filesRow } from './virtio/files.js';
import { graphicsRow } from './virtio/graphics.js';
import { inputRows } from './virtio/input.js';
import { networkRow } from './virtio/network.js';
import { type ScsiSpec, scsiRow, scsiRows } from './virtio/scsi.js';
import { MMIO_KEYS, PCI_KEYS, parseTransport, type Values, type VirtioTransport } from './virtio/transport.js';
import { vsockRow } from './virtio/vsock.js';

/** The types of virtio devices. */
const rows = [blockRow, networkRow, entropyRow, consoleRow, balloonRow, vsockRow, scsiRow, filesRow, ...inputRows, graphicsRow] as const;

/** A virtio device of `-device`. */
export type VirtioSpec = VirtioTransport & ReturnType<(typeof rows)[number]['parse']>;

/** One name of `-device`. */
interface VirtioName {
  readonly properties: readonly string[];
  readonly help: string;
  readonly parse: (values: Values, characters: ReadonlyMap<string, CharacterSpec>) => VirtioSpec;
}

function namesOf({ stem, keys, help, modern, parse }: (typeof rows)[number]): (readonly [string, VirtioName])[] {
  const named = (name: string, more: readonly string[], text: string): readonly [string, VirtioName] => [
    name,
    {
      properties: [...more, ...keys],
      help: `${help}, ${text}`,
      parse: (values, characters) => ({ ...parseTransport(name, values), ...parse(`-device ${name}`, values, characters) }),
    },
  ];
  const legacy = [
    named(`${stem}-pci`, PCI_KEYS, 'on PCI; disable-legacy=on, disable-modern=on, packed=on'),
    named(`${stem}-pci-non-transitional`, PCI_KEYS, 'on PCI without the legacy interface'),
    named(`${stem}-pci-transitional`, PCI_KEYS, 'on PCI with the legacy interface'),
  ];
  return [
    ...(modern === true ? [named(`${stem}-pci`, PCI_KEYS, 'on PCI; packed=on')] : legacy),
    named(`${stem}-device`, MMIO_KEYS, 'on the MMIO transport'),
    named(stem, PCI_KEYS, `on PCI (as ${stem}-pci)`),
  ];
}

/** Virtio devices by name, with what may be said of them. */
export const virtioDevices: Readonly<Record<string, VirtioName>> = Object.fromEntries(rows.flatMap((row) => namesOf(row)));

/** Devices that are plugged into a virtio device. */
export const virtioChildren: Readonly<Record<string, ChildRow<VirtioSpec, ScsiSpec | ConsoleSpec>>> = { ...portRows, ...scsiRows };
