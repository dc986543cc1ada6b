import { UsageError } from '../errors.js';
import { type NetworkSpec, type NicSpec, parseNetwork } from './networks.js';
import { assertKeys, parseProperties } from './text.js';

/** Networks and cards that belong together. */
export interface OlderNetworks {
  readonly networks: readonly NetworkSpec[];
  readonly nics: readonly NicSpec[];
}

/** The hub that everything of `-net` is on. */
const HUB = 0;

const hubPort = (id: string, netdev?: string): NetworkSpec => ({
  kind: 'hubport',
  id,
  option: `-net (${id})`,
  hub: HUB,
  ...(netdev === undefined ? {} : { netdev }),
});

/** A card; with `netdev=` on a network of `-netdev`. */
function parseCard(text: string): { readonly netdev?: string; readonly mac?: string } {
  const { values } = parseProperties(text);
  const option = `-net ${text}`;
  assertKeys('-net nic', values, ['model', 'macaddr', 'netdev', 'name', 'id']);
  const model = values.get('model') ?? 'virtio';
  if (!/^virtio(-net-pci)?$/.test(model)) throw new UsageError(`${option}: model=${model}: there is virtio-net-pci`);
  const [netdev, mac] = [values.get('netdev'), values.get('macaddr')];
  return { ...(netdev === undefined ? {} : { netdev }), ...(mac === undefined ? {} : { mac }) };
}

/**
 * Parses `-net nic`, `-net user` and the like, QEMU's older way, which puts all of them on one hub; one card and one network need none. Throws `UsageError`.
 */
export function parseOlderNetworks(texts: readonly string[]): OlderNetworks {
  const given = texts.filter((text) => text !== 'none');
  const cards = given.filter((text) => /^nic(,|$)/.test(text)).map(parseCard);
  const networks = given
    .filter((text) => !/^nic(,|$)/.test(text))
    .map((text, i): NetworkSpec => {
      const { head, values } = parseProperties(text);
      const id = values.get('id') ?? values.get('name') ?? `net${i}`;
      return parseNetwork(head, id, `-net ${head}`, text, new Map([...values].filter(([key]) => key !== 'name')));
    });
  const free = cards.filter(({ netdev }) => netdev === undefined).length;
  if (free === 1 && networks.length === 1)
    return { networks, nics: cards.map(({ netdev, ...card }) => ({ ...card, netdev: netdev ?? networks[0]!.id })) };
  const ports = cards.map(({ netdev }, i) => netdev ?? `nic-port${i}`);
  return {
    networks: [
      ...networks,
      ...networks.map(({ id }) => hubPort(`${id}-port`, id)),
      ...cards.flatMap(({ netdev }, i) => (netdev === undefined ? [hubPort(ports[i]!)] : [])),
    ],
    nics: cards.map(({ mac }, i) => ({ netdev: ports[i]!, ...(mac === undefined ? {} : { mac }) })),
  };
}
