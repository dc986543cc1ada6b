import { NetFeature, VirtioFeature } from '@nestvm/devices/virtio';
import { UsageError } from '../../errors.js';
import { parseInteger, parseSwitch } from '../text.js';

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

/** Properties of network cards that are features: what goes when one is switched off, those among it that make no sense without. */
const CARD_KEYS: Readonly<Record<string, readonly number[]>> = {
  mrg_rxbuf: [NetFeature.MRG_RXBUF],
  csum: [NetFeature.CSUM, NetFeature.HOST_TSO4, NetFeature.HOST_ECN],
  gso: [NetFeature.HOST_TSO4, NetFeature.HOST_ECN],
};

/** Properties of every virtio device on PCI. */
export const PCI_KEYS: readonly string[] = [
  'id',
  'addr',
  'bus',
  'disable-legacy',
  'disable-modern',
  'vectors',
  'packed',
  'romfile',
  'bootindex',
  ...Object.keys(FEATURE_KEYS),
];

/** Properties of every virtio device on the MMIO transport. */
export const MMIO_KEYS: readonly string[] = ['id', 'packed', ...Object.keys(FEATURE_KEYS)];

/** Parses what concerns the transport; throws `UsageError`. */
export function parseTransport(name: string, values: Values): VirtioTransport {
  const isOn = (key: string, fallback: boolean): boolean => (values.has(key) ? parseSwitch(`-device ${name},${key}`, values.get(key)!) : fallback);
  const chosen = Object.entries(FEATURE_KEYS).flatMap(([key, bit]) => (values.has(key) ? [{ bit, offered: isOn(key, true) }] : []));
  const withheld = Object.entries(CARD_KEYS).flatMap(([key, bits]) => (isOn(key, true) ? [] : bits.map((bit) => ({ bit, offered: false }))));
  const id = values.get('id');
  const vectors = values.get('vectors');
  const address = values.get('addr');
  const bootIndex = values.get('bootindex');
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
    ...(bootIndex === undefined ? {} : { bootIndex: parseInteger(`-device ${name},bootindex`, bootIndex, 0, 0xffff) }),
    ...(address === undefined ? {} : { slot: parseInteger(`-device ${name},addr`, address.replace(/\.0$/, ''), 1, 31) }),
  };
}
