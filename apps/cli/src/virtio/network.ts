import { VirtioNetwork } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import type { NetworkParts } from '../networks/parts.js';
import { assertNetwork } from '../options/networks.js';
import type { VirtioSpec } from '../options/virtio.js';
import type { VirtioContext } from './context.js';

/** The networks of a run, and the cards on them. */
export class Cards {
  private readonly networks: NetworkParts;
  private count = 0;

  constructor(private readonly context: VirtioContext) {
    this.networks = context.networks;
    this.networks.create(context.options.networks);
    context.onOpen(() => this.networks.open());
    context.onClose(() => this.networks.close());
  }

  create(spec: Extract<VirtioSpec, { kind: 'network' }>, name: string): VirtioNetwork {
    const { netdev, mtu, multiqueue, queueSize, packed } = spec;
    const { options } = this.context;
    const option = `-device virtio-net,netdev=${netdev}`;
    assertNetwork(option, netdev, this.networks.known);
    const backend = this.networks.take(netdev, name);
    if (!backend) throw new UsageError(`${option}: another card or a hub has this network; give each its own -netdev`);
    this.context.onClose(() => this.networks.giveBack(netdev));
    const { sockets, cores, threads } = options.topology;
    const mac = spec.mac === undefined ? Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56 + this.count++) : parseMac(option, spec.mac);
    return new VirtioNetwork({
      name,
      backend,
      mac,
      packed,
      queueSize,
      pairs: multiqueue ? Math.min(8, sockets * cores * threads) : 1,
      ...(mtu === undefined ? {} : { mtu }),
    });
  }
}

function parseMac(option: string, text: string): Uint8Array {
  const bytes = text.split(/[:-]/).map((part) => (/^[0-9a-f]{1,2}$/i.test(part) ? parseInt(part, 16) : 256));
  if (bytes.length !== 6 || bytes.some((byte) => byte > 255) || bytes[0]! & 1)
    throw new UsageError(`${option},mac=${text}: not the address of one card; write 52:54:00:12:34:56`);
  return Uint8Array.from(bytes);
}
