import { BlockFeature, NetFeature, VirtioFeature } from '@nestvm/devices/virtio';
import { UsageError } from '../../errors.js';
import { parseBootIndex, parseInteger, parseSwitch } from '../text.js';

/** Properties of a device as they were written. */
export type Values = ReadonlyMap<string, string>;

/** What every virtio device is told about its transport. */
export interface VirtioTransport {
  readonly id?: string;
  readonly bus: 'pci' | 'mmio';
  readonly mode?: 'transitional' | 'modern' | 'legacy';
  readonly vectors?: number;
  readonly slot?: number;
  readonly packed: boolean;
  /** Features that the user wants, or does not want, to be offered to drivers. */
  readonly features: readonly FeatureChoice[];
  /** When firmware tries it, before what has none. */
  readonly bootIndex?: number;
}

/** Whether a feature is offered. */
export interface FeatureChoice {
  readonly bit: number;
  readonly offered: boolean;
}

/** Properties that are features, with their bits. */
const FEATURE_KEYS: Readonly<Record<string, number>> = {
  iommu_platform: VirtioFeature.ACCESS_PLATFORM,
  event_idx: VirtioFeature.EVENT_IDX,
  indirect_desc: VirtioFeature.INDIRECT_DESC,
};

/** Properties of network cards and disks that are features: what goes when one is switched off, those among it that make no sense without. */
const OFFERS: Readonly<Record<string, readonly number[]>> = {
  mrg_rxbuf: [NetFeature.MRG_RXBUF],
  csum: [NetFeature.CSUM, NetFeature.HOST_TSO4, NetFeature.HOST_ECN],
  gso: [NetFeature.HOST_TSO4, NetFeature.HOST_ECN],
  host_tso4: [NetFeature.HOST_TSO4, NetFeature.HOST_ECN],
  host_ecn: [NetFeature.HOST_ECN],
  guest_csum: [NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO4],
  guest_tso4: [NetFeature.GUEST_TSO4],
  discard: [BlockFeature.DISCARD],
  'write-zeroes': [BlockFeature.WRITE_ZEROES],
};

/** Properties of every virtio device on PCI. */
export const PCI_KEYS: readonly string[] = [
  'id',
  'addr',
  'disable-legacy',
  'disable-modern',
  'vectors',
  'packed',
  'bootindex',
  ...Object.keys(FEATURE_KEYS),
];

/** Properties of every virtio device on the MMIO transport. */
export const MMIO_KEYS: readonly string[] = ['id', 'packed', ...Object.keys(FEATURE_KEYS)];

/** Parses what concerns the transport; throws `UsageError`. */
export function parseTransport(name: string, values: Values): VirtioTransport {
  const isOn = (key: string, fallback: boolean): boolean => (values.has(key) ? parseSwitch(`-device ${name},${key}`, values.get(key)!) : fallback);
  const chosen = Object.entries(FEATURE_KEYS).flatMap(([key, bit]) => (values.has(key) ? [{ bit, offered: isOn(key, true) }] : []));
  const withheld = Object.entries(OFFERS).flatMap(([key, bits]) => (isOn(key, true) ? [] : bits.map((bit) => ({ bit, offered: false }))));
  const id = values.get('id');
  const vectors = values.get('vectors');
  const address = values.get('addr');
  const bootIndex = parseBootIndex(`-device ${name}`, values.get('bootindex') ?? '-1');
  const legacy = !isOn('disable-legacy', name.endsWith('-non-transitional'));
  const modern = !isOn('disable-modern', false);
  if (!legacy && !modern) throw new UsageError(`-device ${name}: neither the legacy nor the modern interface is left; leave one on`);
  const isPci = !name.endsWith('-device');
  return {
    bus: isPci ? 'pci' : 'mmio',
    packed: isOn('packed', false),
    features: [...chosen, ...withheld],
    ...(isPci && !(legacy && modern) ? { mode: legacy ? 'legacy' : 'modern' } : {}),
    ...(id === undefined ? {} : { id }),
    ...(vectors === undefined ? {} : { vectors: parseInteger(`-device ${name},vectors`, vectors, 0, 2048) }),
    ...(bootIndex === undefined ? {} : { bootIndex }),
    ...(address === undefined ? {} : { slot: parseInteger(`-device ${name},addr`, address.replace(/\.0$/, ''), 1, 31) }),
  };
}
