import { UsageError } from '../errors.js';
import { adviceOnDevice } from './absent.js';
import { ATA_KEYS, type AtaSpec, parseAta } from './ata.js';
import { type CharacterSpec, namedCharacterDevice } from './character.js';
import { type Globals, withGlobals } from './globals.js';
import { takeOnly, virtioOnly } from './only.js';
import { assertKeys, parseInteger, parsePropertiesOrJson } from './text.js';
import { type VirtioSpec, virtioChildren, virtioDevices } from './virtio.js';

/** A raw image of `-device loader`; `entry` when a CPU starts at it. */
export interface ImageSpec {
  readonly path: string;
  readonly address: number;
  readonly entry: boolean;
  readonly mode: 'real' | 'protected' | 'long';
}

/** What the `-device` options ask for. */
export interface DeviceSpecs {
  readonly debugExit?: { readonly iobase: number; readonly iosize: number };
  readonly testDevice: boolean;
  readonly debugConsole?: { readonly port: number; readonly to: CharacterSpec; readonly readback?: number };
  readonly serial: readonly { readonly index?: number; readonly to: CharacterSpec }[];
  readonly images: readonly ImageSpec[];
  readonly virtio: readonly VirtioSpec[];
  readonly ata: readonly AtaSpec[];
  /** AHCI controllers beside the board's own, by name. */
  readonly ahci: readonly string[];
}

type Draft = { -readonly [K in keyof DeviceSpecs]: DeviceSpecs[K] } & {
  serial: { index?: number; to: CharacterSpec }[];
  images: ImageSpec[];
  virtio: VirtioSpec[];
  ata: AtaSpec[];
  ahci: string[];
};

interface DeviceRow {
  readonly properties: readonly string[];
  readonly help: string;
  readonly apply: (draft: Draft, values: ReadonlyMap<string, string>, characters: ReadonlyMap<string, CharacterSpec>) => void;
}

const integer = (device: string, values: ReadonlyMap<string, string>, key: string, fallback: number, high: number): number =>
  values.has(key) ? parseInteger(`-device ${device},${key}`, values.get(key)!, 0, high) : fallback;

const required = (device: string, values: ReadonlyMap<string, string>, key: string): string => {
  const value = values.get(key);
  if (value === undefined) throw new UsageError(`-device ${device}: ${key}= is missing; write -device ${device},${key}=…`);
  return value;
};

/** Devices that can be plugged in, by name. */
export const deviceRows: Readonly<Record<string, DeviceRow>> = {
  'isa-debug-exit': {
    properties: ['iobase', 'iosize'],
    help: 'a write of V to its port ends Nestvm with status 2V+1',
    apply: (draft, values) => {
      draft.debugExit = {
        iobase: integer('isa-debug-exit', values, 'iobase', 0x501, 0xffff),
        iosize: integer('isa-debug-exit', values, 'iosize', 2, 16),
      };
    },
  },
  'ide-hd': {
    properties: ATA_KEYS,
    help: "an ATA disk on a -drive, on the board's controller (bus=ide.N) or on that of -device ahci,id=ID (bus=ID.N)",
    apply: (draft, values) => void draft.ata.push(parseAta('ide-hd', false, values)),
  },
  'ide-cd': {
    properties: ATA_KEYS,
    help: 'an ATAPI CD drive, with or without a -drive',
    apply: (draft, values) => void draft.ata.push(parseAta('ide-cd', true, values)),
  },
  ahci: {
    properties: ['id'],
    help: 'a further AHCI controller with six ports (PCI)',
    apply: (draft, values) => void draft.ahci.push(values.get('id') ?? `ahci${draft.ahci.length}`),
  },
  'pc-testdev': {
    properties: [],
    help: 'interrupt lines, I/O ports and memory for kvm-unit-tests',
    apply: (draft) => void (draft.testDevice = true),
  },
  'isa-debugcon': {
    properties: ['iobase', 'chardev', 'readback'],
    help: 'a port whose bytes go to a -chardev',
    apply: (draft, values, characters) => {
      draft.debugConsole = {
        port: integer('isa-debugcon', values, 'iobase', 0xe9, 0xffff),
        to: namedCharacterDevice('-device isa-debugcon', required('isa-debugcon', values, 'chardev'), characters),
        ...(values.has('readback') ? { readback: integer('isa-debugcon', values, 'readback', 0xe9, 0xff) } : {}),
      };
    },
  },
  'isa-serial': {
    properties: ['chardev', 'index'],
    help: 'a serial port on a -chardev: the next, or COM1 to COM4 by index=0 to 3',
    apply: (draft, values, characters) =>
      void draft.serial.push({
        to: namedCharacterDevice('-device isa-serial', required('isa-serial', values, 'chardev'), characters),
        ...(values.has('index') ? { index: integer('isa-serial', values, 'index', 0, 3) } : {}),
      }),
  },
  loader: {
    properties: ['file', 'addr', 'cpu-num', 'force-raw', 'mode'],
    help: 'a raw file at addr; with cpu-num=0 the CPU starts there, in mode=real, protected (default) or long',
    apply: (draft, given) => {
      const values = new Map(given);
      takeOnly('-device loader', values, { 'force-raw': [/^(on|yes|true)$/, 'a file is always loaded as it is; an ELF is for -kernel'] });
      const mode = values.get('mode') ?? 'protected';
      if (mode !== 'real' && mode !== 'protected' && mode !== 'long')
        throw new UsageError(`-device loader,mode=${mode}: there are real, protected, long`);
      if (values.has('cpu-num')) integer('loader', values, 'cpu-num', 0, 0);
      draft.images.push({
        path: required('loader', values, 'file'),
        address: parseInteger('-device loader,addr', required('loader', values, 'addr'), 0, 2 ** 40),
        entry: values.has('cpu-num'),
        mode,
      });
    },
  },
  ...Object.fromEntries(
    Object.entries(virtioDevices).map(([name, { properties, help, parse }]): [string, DeviceRow] => [
      name,
      { properties, help, apply: (draft, values, characters) => void draft.virtio.push(parse(values, characters)) },
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(virtioChildren).map(([name, { properties, help, attach }]): [string, DeviceRow] => [
      name,
      { properties, help, apply: (draft, values, characters) => void attach(draft.virtio, `-device ${name}`, values, characters) },
    ]),
  ),
};

/** Parses all `-device` options; throws `UsageError`, naming the nearest device or property. */
export function parseDevices(texts: readonly string[], characters: ReadonlyMap<string, CharacterSpec>, globals: Globals): DeviceSpecs {
  const draft: Draft = { testDevice: false, serial: [], images: [], virtio: [], ata: [], ahci: [] };
  for (const text of texts) {
    const { head, values } = parsePropertiesOrJson('-device', text);
    const name = head || (values.get('driver') ?? '');
    const row = Object.hasOwn(deviceRows, name) ? deviceRows[name]! : undefined;
    if (name === '') throw new UsageError(`-device ${text}: a name is missing; write -device NAME[,prop=value] ('-device help' lists them)`);
    if (row === undefined) throw new UsageError(`-device ${name}: no such device; ${adviceOnDevice(name, Object.keys(deviceRows))}`);
    const rest = new Map([...values].filter(([key]) => key !== 'driver' && (key !== 'id' || row.properties.includes('id'))));
    if (Object.hasOwn(virtioDevices, name)) takeOnly(`-device ${name}`, rest, virtioOnly);
    assertKeys(`-device ${name}`, rest, row.properties);
    row.apply(draft, withGlobals(globals, name, rest), characters);
  }
  return draft;
}
