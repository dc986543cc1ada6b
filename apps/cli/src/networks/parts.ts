import { DumpedNetwork, FinishingNetwork, type GuestForward, Hub, type Network, NetworkError, type NetworkHost, UserNetwork } from '@nestvm/networks';
import { UsageError } from '../errors.js';
import { OutputFile, reasonOf } from '../files.js';
import { assertNetwork, type DumpSpec, type GuestForwardSpec, type NetworkSpec, type NetworkSpecs } from '../options/networks.js';
import { runCommand } from './command-socket.js';
import { DatagramCable } from './datagram-cable.js';
import { createNetworkHost } from './node-host.js';
import { SocketCable } from './socket-cable.js';
import { openTftpFolder } from './tftp-folder.js';
import { createWebSocketCable } from './web-socket-cable.js';

/** Time since 1970. `Date` knows milliseconds only. */
const microseconds = (): number => Math.round((performance.timeOrigin + performance.now()) * 1000);

/** The networks of a run, by their ids. */
export class NetworkParts {
  /** Every network that there is, also those that cards have. */
  readonly known: NetworkSpec[] = [];
  private readonly networks = new Map<string, Network>();
  private readonly openers: (() => Promise<void>)[] = [];
  private readonly users = new Map<string, UserNetwork>();
  /** The same, where what passes them can be dumped. */
  private readonly watched = new Map<string, DumpedNetwork>();
  /** What ends each dump, by the name of its object. */
  private readonly dumps = new Map<string, () => void>();
  private readonly hubs = new Map<number, Hub>();

  /** Makes the networks; throws `UsageError`. Their sockets are opened by `open`. */
  create(specs: NetworkSpecs): void {
    for (const spec of specs.networks) {
      this.networks.set(spec.id, this.plain(spec));
      this.known.push(spec);
    }
    for (const dump of specs.dumps) this.addDump(dump, '-object filter-dump');
    for (const spec of specs.networks) this.connect(spec);
  }

  /** Makes one more network and opens its sockets; rejects with `UsageError`, and nothing of it is left then. */
  async add(spec: NetworkSpec): Promise<void> {
    if (this.known.some(({ id }) => id === spec.id)) throw new UsageError(`there is a network '${spec.id}' already; give this one another id`);
    if (spec.kind === 'hubport' && spec.netdev !== undefined) assertNetwork(spec.option, spec.netdev, this.known);
    const network = this.plain(spec);
    const opening = this.openers.splice(0);
    this.known.push(spec);
    try {
      for (const open of opening) await open();
    } catch (error) {
      network.close();
      this.forget(spec.id);
      throw error;
    }
    this.networks.set(spec.id, network);
    this.connect(spec);
  }

  /** Ends a network that no card and no hub has; throws `UsageError`. */
  remove(id: string): void {
    assertNetwork('netdev_del', id, this.known);
    const network = this.networks.get(id);
    if (!network) throw new UsageError(`a card or a hub has the network '${id}'; take that out first (device_del)`);
    network.close();
    this.networks.delete(id);
    this.forget(id);
  }

  /** The user network of this id, or the only one; throws `UsageError`. */
  user(id: string | undefined): UserNetwork {
    const found = id === undefined ? [...this.users.values()] : [this.users.get(id)];
    if (found.length === 1 && found[0]) return found[0];
    const names = [...this.users.keys()].join(', ') || 'none';
    throw new UsageError(id === undefined ? `which user network is meant? There are ${names}` : `'${id}' is no user network; there are ${names}`);
  }

  private forget(id: string): void {
    this.users.delete(id);
    this.watched.delete(id);
    const at = this.known.findIndex((spec) => spec.id === id);
    if (at >= 0) this.known.splice(at, 1);
  }

  /** Puts the network that a port of a hub names into the hub. */
  private connect(spec: NetworkSpec): void {
    if (spec.kind !== 'hubport' || spec.netdev === undefined) return;
    const network = this.networks.get(spec.netdev);
    if (!network) throw new UsageError(`${spec.option},netdev=${spec.netdev}: a card or another hub has this network; give each its own -netdev`);
    this.hub(spec.hub).connect(network);
    this.networks.delete(spec.netdev);
  }

  /** Name of the card that has a network. */
  cardOf(id: string): string | undefined {
    return this.taken.get(id)?.card;
  }

  /** Takes a network for a card; undefined when there is none, or another card has it. */
  take(id: string, card = ''): Network | undefined {
    const network = this.networks.get(id);
    this.networks.delete(id);
    if (network) this.taken.set(id, { network, card });
    return network?.offloads === false ? new FinishingNetwork(network) : network;
  }

  /** The card that had a network has gone: another may take it. */
  giveBack(id: string): void {
    const taken = this.taken.get(id);
    if (taken) this.networks.set(id, taken.network);
    this.taken.delete(id);
  }

  /** Opens sockets; rejects with `UsageError`. */
  async open(): Promise<void> {
    for (const open of this.openers.splice(0)) await open();
  }

  close(): void {
    for (const network of [...this.networks.values(), ...[...this.taken.values()].map((each) => each.network)]) network.close();
    for (const end of this.dumps.values()) end();
    this.dumps.clear();
  }

  private readonly taken = new Map<string, { readonly network: Network; readonly card: string }>();

  /** Writes down what passes a network from now on; throws `UsageError`. */
  addDump({ id, netdev, path, mostBytes }: DumpSpec, option = 'object_add filter-dump'): void {
    assertNetwork(`${option},id=${id}`, netdev, this.known);
    const file = new OutputFile(option, path);
    const end = this.watched.get(netdev)!.addDump({ write: (bytes) => file.append(bytes), now: microseconds, mostBytes });
    this.dumps.set(id, () => {
      end();
      file.close();
    });
  }

  /** Ends a dump. */
  removeDump(id: string): void {
    this.dumps.get(id)?.();
    this.dumps.delete(id);
  }

  private plain(spec: NetworkSpec): Network {
    const network = new DumpedNetwork(this.bare(spec));
    this.watched.set(spec.id, network);
    return network;
  }

  private bare(spec: NetworkSpec): Network {
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
      this.users.set(spec.id, network);
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
