import { DumpedNetwork, FinishingNetwork, type GuestForward, Hub, type Network, NetworkError, type NetworkHost, UserNetwork } from '@nestvm/networks';
import { UsageError } from '../errors.js';
import { OutputFile, reasonOf } from '../files.js';
import type { GuestForwardSpec, NetworkSpec, NetworkSpecs } from '../options/networks.js';
import { runCommand } from './command-socket.js';
import { DatagramCable } from './datagram-cable.js';
import { createNetworkHost } from './node-host.js';
import { SocketCable } from './socket-cable.js';
import { openTftpFolder } from './tftp-folder.js';
import { createWebSocketCable } from './web-socket-cable.js';

/** The networks of a run, by their ids. */
export class NetworkParts {
  private readonly networks = new Map<string, Network>();
  private readonly openers: (() => Promise<void>)[] = [];
  private readonly files: OutputFile[] = [];
  private readonly hubs = new Map<number, Hub>();

  /** Makes the networks; throws `UsageError`. Their sockets are opened by `open`. */
  create(specs: NetworkSpecs): void {
    for (const spec of specs.networks) this.networks.set(spec.id, this.dumped(spec, specs));
    for (const spec of specs.networks) {
      if (spec.kind !== 'hubport' || spec.netdev === undefined) continue;
      this.hub(spec.hub).connect(this.networks.get(spec.netdev)!);
      this.networks.delete(spec.netdev);
    }
  }

  /** Takes a network for a card; undefined when there is none, or another card has it. */
  take(id: string): Network | undefined {
    const network = this.networks.get(id);
    this.networks.delete(id);
    if (network) this.taken.set(id, network);
    return network?.offloads === false ? new FinishingNetwork(network) : network;
  }

  /** The card that had a network has gone: another may take it. */
  giveBack(id: string): void {
    const network = this.taken.get(id);
    if (network) this.networks.set(id, network);
    this.taken.delete(id);
  }

  /** Opens sockets; rejects with `UsageError`. */
  async open(): Promise<void> {
    for (const open of this.openers) await open();
  }

  close(): void {
    for (const network of [...this.networks.values(), ...this.taken.values()]) network.close();
    for (const file of this.files) file.close();
  }

  private readonly taken = new Map<string, Network>();

  private dumped(spec: NetworkSpec, specs: NetworkSpecs): Network {
    let network = this.plain(spec);
    for (const { netdev, path, mostBytes } of specs.dumps) {
      if (netdev !== spec.id) continue;
      const file = new OutputFile('-object filter-dump', path);
      this.files.push(file);
      network = new DumpedNetwork(network, { write: (bytes) => file.append(bytes), now: () => Date.now() * 1000, mostBytes });
    }
    return network;
  }

  private plain(spec: NetworkSpec): Network {
    if (spec.kind === 'hubport') return this.hub(spec.hub).port();
    if (spec.kind === 'websocket') return createWebSocketCable(spec.option, spec.url);
    if (spec.kind === 'datagrams') {
      const cable = new DatagramCable(spec.option, spec.datagrams);
      this.openers.push(() => cable.open());
      return cable;
    }
    if (spec.kind === 'socket') {
      const cable = new SocketCable(spec.option, { kind: spec.end, address: spec.address, port: spec.port });
      this.openers.push(() => cable.open());
      return cable;
    }
    try {
      const host = createNetworkHost();
      const guestForwards = (spec.guestForwards ?? []).map(({ address, port, to }) => ({ address, port, connect: connectorOf(host, to) }));
      const tftp = spec.tftpFolder === undefined ? {} : { tftp: openTftpFolder(spec.option, spec.tftpFolder) };
      const network = new UserNetwork({ ...spec, ...tftp, guestForwards, host });
      this.openers.push(() => openUser(network, spec.option));
      return network;
    } catch (error) {
      if (error instanceof NetworkError) throw new UsageError(`${spec.option}: ${error.message}`);
      throw error;
    }
  }

  private hub(number: number): Hub {
    let hub = this.hubs.get(number);
    if (!hub) this.hubs.set(number, (hub = new Hub()));
    return hub;
  }
}

/** What makes connections to what a `guestfwd` names. */
function connectorOf(host: NetworkHost, to: GuestForwardSpec['to']): GuestForward['connect'] {
  return to.kind === 'tcp' ? (events) => host.connectTcp(to.address, to.port, events) : (events) => runCommand(to.command, events);
}

async function openUser(network: UserNetwork, option: string): Promise<void> {
  try {
    await network.open();
  } catch (error) {
    const { port } = error as { port?: number };
    throw new UsageError(`${option}: hostfwd${port === undefined ? '' : ` on port ${port}`}: ${reasonOf(error)}; choose another port`);
  }
}
