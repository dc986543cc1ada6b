import type { Server, Socket } from 'node:net';
import type { PtyLine } from '../characters/pty-line.js';
import type { Ptys } from '../characters/ptys.js';
import { connect, listen } from '../migration/socket.js';
import { Monitor } from '../monitor.js';
import type { MonitorSpec } from '../options/monitors.js';
import { QmpConnection } from '../qmp/connection.js';
import type { MonitorTarget } from './target.js';

/** One end that a client talks to. */
export interface MonitorConsole {
  /** Shows that the monitor is there. */
  enter(): void;
  receive(bytes: Uint8Array): void;
  /** The client has gone, or the machine ends. */
  close?(): void;
}

/** Makes the monitor that a specification asks for. */
export const createConsole = (spec: MonitorSpec, target: MonitorTarget, write: (text: string) => void): MonitorConsole =>
  spec.protocol === 'qmp' ? new QmpConnection(target, write) : new Monitor(target, write);

/** How long the last words of a monitor may take to their client when the machine ends. */
const FAREWELL_MS = 500;

/** The monitors on sockets and pseudo-terminals: each connection is one of its own. */
export class MonitorServers {
  private readonly servers: Server[] = [];
  private readonly sockets = new Set<Socket>();

  constructor(
    private readonly target: MonitorTarget,
    private readonly ptys: Ptys,
  ) {}

  /** Starts to listen, or connects; resolves when those that are to be waited for have a client. Throws `UsageError`. */
  async open(specs: readonly MonitorSpec[]): Promise<void> {
    const waits: Promise<void>[] = [];
    for (const spec of specs) {
      const { place, option } = spec;
      if (place.kind === 'pty') this.servePty(spec, this.ptys.take(option, place));
      if (place.kind !== 'socket') continue;
      if (!place.server) {
        this.serve(spec, await connect(option, place.address));
        continue;
      }
      let arrived: () => void = () => {};
      const arrival = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      const server = await listen(option, place.address, (socket) => {
        this.serve(spec, socket);
        arrived();
      });
      this.servers.push(server);
      if (place.wait) waits.push(arrival);
    }
    await Promise.all(waits);
    // From now on the machine is what keeps the process alive.
    for (const server of this.servers) server.unref();
  }

  private serve(spec: MonitorSpec, socket: Socket): void {
    const console = createConsole(spec, this.target, (text) => void (socket.writable && socket.write(text)));
    this.sockets.add(socket);
    socket.on('data', (bytes) => console.receive(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.sockets.delete(socket);
      console.close?.();
    });
    console.enter();
  }

  /** A monitor for whoever has the terminal open. */
  private servePty(spec: MonitorSpec, line: PtyLine): void {
    let console: MonitorConsole | undefined;
    line.onPresence = (present) => {
      console?.close?.();
      console = present ? createConsole(spec, this.target, (text) => void line.write(Buffer.from(text))) : undefined;
      console?.enter();
    };
    line.onInput = (bytes) => {
      console?.receive(bytes);
      return bytes.length;
    };
  }

  /** Says good-bye: what has been written reaches its client, unless that does not read. */
  async close(): Promise<void> {
    for (const server of this.servers) server.close();
    const sent = [...this.sockets].map((socket) => new Promise<void>((resolve) => socket.end(() => resolve())));
    if (sent.length === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FAREWELL_MS);
    });
    await Promise.race([Promise.all(sent), patience]);
    clearTimeout(timer);
  }
}
