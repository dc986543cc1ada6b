import type { IncomingMessage } from 'node:http';
import { Hub } from '@nestvm/networks';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import { UsageError } from './errors.js';
import { reasonOf } from './files.js';
import { NetworkParts } from './networks/parts.js';
import { parseNetworks } from './options/all-networks.js';

const LONGEST_FRAME = 65_536 + 64;
const SHORTEST_FRAME = 14;
/** What may wait for a slow guest; more is lost, as on a wire. */
const MOST_WAITING = 4 * 2 ** 20;
const MOST_GUESTS = 64;
const DEFAULT_PLACE = '127.0.0.1:8087';
const DEFAULT_NETWORK = 'user,id=n0';

/** `nestvm relay -help`. */
const relayHelp = `nestvm relay [-listen ADDRESS:PORT] [-netdev NETWORK]... [-origin ORIGIN]...

A hub for guests in web pages and elsewhere: each WebSocket that connects is a cable, with an Ethernet frame in each binary message.

  -listen ADDRESS:PORT      where to listen (default ${DEFAULT_PLACE})
  -netdev NETWORK           what is on the hub beside the guests, as for 'nestvm run' (default ${DEFAULT_NETWORK}); none: nothing
  -origin ORIGIN            a web site whose pages may connect, as https://example.org, or * for all; pages of this machine and
                            programs that are no browsers always may
`;

/** What a relay is asked to be. */
export interface RelayOptions {
  readonly address: string;
  readonly port: number;
  /** Values of `-netdev`. */
  readonly networks: readonly string[];
  readonly origins: readonly string[];
}

/** Parses the options of `nestvm relay`; throws `UsageError`. */
export function parseRelay(args: readonly string[]): RelayOptions {
  const values: Record<'listen' | 'netdev' | 'origin', string[]> = { listen: [], netdev: [], origin: [] };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i]!.replace(/^--?/, '');
    const value = args[i + 1];
    if (!(name === 'listen' || name === 'netdev' || name === 'origin'))
      throw new UsageError(`relay: ${args[i]}: there are -listen, -netdev and -origin`);
    if (value === undefined) throw new UsageError(`relay: ${args[i]}: a value is missing; see 'nestvm relay -help'`);
    values[name].push(value);
  }
  const place = values.listen.at(-1) ?? DEFAULT_PLACE;
  const match = /^(?:ws:\/\/)?([^/:]*|\[[0-9a-f:]+\]):(\d{1,5})\/?$/i.exec(place);
  if (!match || Number(match[2]) > 65_535) throw new UsageError(`relay: -listen ${place}: write ADDRESS:PORT`);
  const networks = values.netdev.length > 0 ? values.netdev.filter((text) => text !== 'none') : [DEFAULT_NETWORK];
  return { address: match[1]!.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(match[2]), networks, origins: values.origin };
}

/** Whether a page may connect. What is behind the relay may be the whole of this machine, and any page that is looked at could ask for it. */
function isWelcome(origin: string | undefined, origins: readonly string[]): boolean {
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return true;
  return URL.canParse(origin) && ['localhost', '127.0.0.1', '[::1]'].includes(new URL(origin).hostname);
}

/** A hub behind WebSockets. */
export class Relay {
  private readonly hub = new Hub();
  private readonly parts = new NetworkParts();
  private server: WebSocketServer | undefined;

  constructor(
    private readonly options: RelayOptions,
    private readonly say: (text: string) => void,
  ) {}

  /** Opens networks and port, and returns the port; rejects with `UsageError`. */
  async open(): Promise<number> {
    const specs = parseNetworks(new Map([['netdev', [...this.options.networks]]]));
    this.parts.create(specs);
    for (const { id } of specs.networks) this.hub.connect(this.parts.take(id)!);
    await this.parts.open();
    return this.listen();
  }

  close(): void {
    for (const socket of this.server?.clients ?? []) socket.terminate();
    this.server?.close();
    this.parts.close();
  }

  private listen(): Promise<number> {
    const { address, port, origins } = this.options;
    return new Promise((resolve, reject) => {
      const server = new WebSocketServer({
        host: address,
        port,
        perMessageDeflate: false,
        maxPayload: LONGEST_FRAME,
        verifyClient: ({ origin }: { origin?: string; req: IncomingMessage }) => {
          const welcome = isWelcome(origin, origins) && server.clients.size < MOST_GUESTS;
          if (!welcome)
            this.say(
              `refused a page of ${origin ?? 'nowhere'}${isWelcome(origin, origins) ? ': too many guests' : `; -origin ${origin} lets it in`}`,
            );
          return welcome;
        },
      });
      this.server = server;
      server.once('error', (error) => reject(new UsageError(`relay: -listen ${address}:${port}: ${reasonOf(error)}; choose another port`)));
      server.once('listening', () => resolve((server.address() as { port: number }).port));
      server.on('connection', (socket, request) => this.plug(socket, request.socket.remoteAddress ?? 'somewhere'));
    });
  }

  private plug(socket: WebSocket, name: string): void {
    const port = this.hub.port();
    port.receiver = (frame) => {
      if (socket.readyState === socket.OPEN && socket.bufferedAmount <= MOST_WAITING) socket.send(frame.slice());
    };
    socket.on('message', (data: RawData, isBinary) => {
      if (isBinary && data instanceof Buffer && data.length >= SHORTEST_FRAME) port.send(data);
    });
    // Too long a message, or a line that broke: 'close' follows.
    socket.on('error', () => {});
    socket.on('close', () => {
      port.close();
      this.say(`${name} has gone`);
    });
    this.say(`${name} has connected`);
  }
}

/** `nestvm relay …`: runs until a signal ends it. */
export async function relay(args: readonly string[]): Promise<number> {
  if (args.some((arg) => /^--?(h|help)$/.test(arg))) {
    process.stdout.write(relayHelp);
    return 0;
  }
  const options = parseRelay(args);
  const running = new Relay(options, (text) => void process.stderr.write(`nestvm relay: ${text}\n`));
  const ended = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
  try {
    const port = await running.open();
    process.stdout.write(`listening on ws://${options.address.includes(':') ? `[${options.address}]` : options.address}:${port}\n`);
    await ended;
  } finally {
    running.close();
  }
  return 0;
}
