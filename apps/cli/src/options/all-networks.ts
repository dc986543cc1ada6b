import { UsageError } from '../errors.js';
import { assertNetwork, type DumpSpec, type NetworkSpec, type NetworkSpecs, type NicSpec, parseNetdev, parseNetwork } from './networks.js';
import { parseOlderNetworks } from './older-networks.js';
import type { RawOptions } from './parse.js';
import { parseProperties } from './text.js';

function parseNic(text: string, number: number): { network: NetworkSpec; nic: NicSpec } {
  const { head, values } = parseProperties(text);
  const model = values.get('model') ?? 'virtio-net-pci';
  if (!/^virtio(-net-pci)?$/.test(model)) throw new UsageError(`-nic model=${model}: there is virtio-net-pci`);
  const id = values.get('id') ?? `nic${number}`;
  const mac = values.get('mac');
  return { network: parseNetwork(head || 'user', id, `-nic ${head}`, text, values), nic: { netdev: id, ...(mac === undefined ? {} : { mac }) } };
}

/** Parses `-netdev`, `-nic` and `-net`, on which `dumps` are made; throws `UsageError`. */
export function parseNetworks(raw: RawOptions, dumps: readonly DumpSpec[] = []): NetworkSpecs {
  const nics = [...(raw.get('nic') ?? [])].filter((text) => text !== 'none').map((text, number) => parseNic(text, number));
  const older = parseOlderNetworks(raw.get('net') ?? []);
  const networks = [...(raw.get('netdev') ?? []).map((text) => parseNetdev(text)), ...nics.map(({ network }) => network), ...older.networks];
  const ids = networks.map(({ id }) => id);
  const twice = ids.find((id, i) => ids.indexOf(id) !== i);
  if (twice !== undefined) throw new UsageError(`-netdev id=${twice}: two networks have this name; give one another id`);
  for (const { id, netdev } of dumps) assertNetwork(`-object filter-dump,id=${id}`, netdev, networks);
  for (const network of networks) if (network.kind === 'hubport' && network.netdev) assertNetwork(network.option, network.netdev, networks);
  return { networks, dumps, nics: [...nics.map(({ nic }) => nic), ...older.nics] };
}
