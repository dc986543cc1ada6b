import { UsageError } from '../errors.js';
import type { CharacterSpec } from './character.js';
import { parseInteger, parseSwitch } from './text.js';

/** What every virtio device is told about its transport. */
interface VirtioTransport {
  readonly id?: string;
  readonly bus: 'pci' | 'mmio';
  readonly mode?: 'transitional' | 'modern' | 'legacy';
  readonly vectors?: number;
  readonly slot?: number;
  readonly packed: boolean;
}

/** A virtio device of `-device`. */
export type VirtioSpec = VirtioTransport &
  (
    | {
        readonly kind: 'block';
        readonly drive: string;
        readonly serial?: string;
        readonly queues: number;
        readonly queueSize: number;
        readonly writeCache?: boolean;
      }
    | { readonly kind: 'entropy' }
    | CardSpec
  );

interface VirtioRow {
  readonly properties: readonly string[];
  readonly help: string;
}

const PCI_KEYS = [
  'id',
  'addr',
  'bus',
  'disable-legacy',
  'disable-modern',
  'vectors',
  'packed',
  'romfile',
  'iommu_platform',
  'event_idx',
  'indirect_desc',
];
const MMIO_KEYS = ['id', 'packed'];
const OWN_KEYS: Readonly<Record<string, readonly string[]>> = {
  blk: ['drive', 'serial', 'num-queues', 'queue-size', 'write-cache', 'bootindex', 'logical_block_size', 'physical_block_size'],
  net: ['netdev', 'mac', 'mq', 'host_mtu', 'rx_queue_size', 'tx_queue_size', 'bootindex', 'mrg_rxbuf', 'csum', 'gso'],
  rng: ['rng', 'max-bytes', 'period'],
};
const WHAT: Readonly<Record<string, string>> = { blk: 'a disk on a -drive', net: 'a network card on a -netdev', rng: 'random bytes' };

/** Virtio devices by name, with what may be said of them. */
export const virtioDevices: Readonly<Record<string, VirtioRow>> = Object.fromEntries(
  Object.entries(OWN_KEYS).flatMap(([type, own]): [string, VirtioRow][] => [
    [`virtio-${type}-pci`, { properties: [...PCI_KEYS, ...own], help: `${WHAT[type]}, on PCI; disable-legacy=on, disable-modern=on, packed=on` }],
    [`virtio-${type}-pci-non-transitional`, { properties: [...PCI_KEYS, ...own], help: `${WHAT[type]}, on PCI without the legacy interface` }],
    [`virtio-${type}-pci-transitional`, { properties: [...PCI_KEYS, ...own], help: `${WHAT[type]}, on PCI with the legacy interface` }],
    [`virtio-${type}-device`, { properties: [...MMIO_KEYS, ...own], help: `${WHAT[type]}, on the MMIO transport` }],
  ]),
);

type Values = ReadonlyMap<string, string>;

function parseTransport(name: string, values: Values): VirtioTransport {
  const isOn = (key: string, fallback: boolean): boolean => (values.has(key) ? parseSwitch(`-device ${name},${key}`, values.get(key)!) : fallback);
  const id = values.get('id');
  const vectors = values.get('vectors');
  const address = values.get('addr');
  const legacy = !isOn('disable-legacy', name.endsWith('-non-transitional'));
  const modern = !isOn('disable-modern', false);
  if (!legacy && !modern) throw new UsageError(`-device ${name}: neither the legacy nor the modern interface is left; leave one on`);
  const isPci = !name.endsWith('-device');
  return {
    bus: isPci ? 'pci' : 'mmio',
    packed: isOn('packed', false),
    ...(isPci && !(legacy && modern) ? { mode: legacy ? 'legacy' : 'modern' } : {}),
    ...(id === undefined ? {} : { id }),
    ...(vectors === undefined ? {} : { vectors: parseInteger(`-device ${name},vectors`, vectors, 0, 2048) }),
    ...(address === undefined ? {} : { slot: parseInteger(`-device ${name},addr`, address.replace(/\.0$/, ''), 1, 31) }),
  };
}

/** What a network card is told. */
interface CardSpec {
  readonly kind: 'network';
  /** Id of its network. */
  readonly netdev: string;
  /** Ethernet address as text (default: one by the number of the card). */
  readonly mac?: string;
  readonly multiqueue: boolean;
  readonly queueSize: number;
  readonly mtu?: number;
}

function parseCard(name: string, values: Values): CardSpec {
  const netdev = values.get('netdev');
  if (netdev === undefined) throw new UsageError(`-device ${name}: netdev= is missing; write -netdev user,id=n0 -device ${name},netdev=n0`);
  const mac = values.get('mac');
  const mtu = values.get('host_mtu');
  return {
    kind: 'network',
    netdev,
    multiqueue: values.has('mq') && parseSwitch(`-device ${name},mq`, values.get('mq')!),
    queueSize: parseInteger(`-device ${name},rx_queue_size`, values.get('rx_queue_size') ?? '256', 64, 1024),
    ...(mac === undefined ? {} : { mac }),
    ...(mtu === undefined ? {} : { mtu: parseInteger(`-device ${name},host_mtu`, mtu, 68, 65_535) }),
  };
}

/** Parses a virtio device; throws `UsageError`. */
export function parseVirtio(name: string, values: Values, _characters: ReadonlyMap<string, CharacterSpec>): VirtioSpec {
  const transport = parseTransport(name, values);
  if (name.startsWith('virtio-rng-')) return { ...transport, kind: 'entropy' };
  if (name.startsWith('virtio-net-')) return { ...transport, ...parseCard(name, values) };
  const drive = values.get('drive');
  if (drive === undefined) throw new UsageError(`-device ${name}: drive= is missing; write -drive file=F,if=none,id=d0 -device ${name},drive=d0`);
  const serial = values.get('serial');
  const writeCache = values.get('write-cache');
  return {
    ...transport,
    kind: 'block',
    drive,
    queues: parseInteger(`-device ${name},num-queues`, values.get('num-queues') ?? '1', 1, 64),
    queueSize: parseInteger(`-device ${name},queue-size`, values.get('queue-size') ?? '256', 4, 1024),
    ...(serial === undefined ? {} : { serial }),
    ...(writeCache === undefined || writeCache === 'auto' ? {} : { writeCache: parseSwitch(`-device ${name},write-cache`, writeCache) }),
  };
}
