import { rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { VirtioVsock, VsockBackend, VsockConnection, VsockPeer } from '@nestvm/devices/virtio';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';

/** Longest `CONNECT PORT` line. */
const GREETING_BYTES = 64;

/** A host socket as the far end of a connection of the guest. */
class SocketPeer implements VsockPeer {
  private connection: VsockConnection | undefined;
  private rest: Uint8Array | undefined;

  constructor(
    private readonly socket: Socket,
    private readonly onOpened: (connection: VsockConnection) => void = () => {},
  ) {
    socket.on('error', () => {});
  }

  /** Passes on what the socket says. */
  attach(connection: VsockConnection): this {
    const { socket } = this;
    this.connection = connection;
    socket.on('data', (bytes) => this.input(bytes));
    socket.on('end', () => {
      if (!this.rest) connection.end();
    });
    socket.on('close', () => connection.close());
    return this;
  }

  opened(): void {
    if (this.connection) this.onOpened(this.connection);
  }

  write(bytes: Uint8Array): void {
    const { length } = bytes;
    this.socket.write(Uint8Array.from(bytes), () => this.connection?.consumed(length));
  }

  room(): void {
    const { rest } = this;
    this.rest = undefined;
    if (rest) this.input(rest);
    if (this.rest) return;
    if (this.socket.readableEnded) this.connection?.end();
    else this.socket.resume();
  }

  end(): void {
    this.socket.end();
  }

  close(): void {
    // What has been written still goes out.
    this.socket.end(() => this.socket.destroy());
  }

  private input(bytes: Uint8Array): void {
    const taken = this.connection!.send(bytes);
    if (taken === bytes.length) return;
    this.rest = bytes.subarray(taken);
    this.socket.pause();
  }
}

/**
 * The host's side of a socket device as Unix sockets: who connects to PATH and says `CONNECT PORT` reaches a port of the guest, and is told `OK` with the port
 * it has itself; when the guest connects to port N of the host, it reaches whoever listens at PATH_N. This is how Firecracker has it.
 */
export class UnixVsock implements VsockBackend {
  private device: VirtioVsock | undefined;
  private server: Server | undefined;
  private readonly sockets = new Set<Socket>();

  constructor(
    private readonly option: string,
    private readonly path: string,
  ) {}

  /** Listens; rejects with `UsageError`. */
  async open(device: VirtioVsock): Promise<void> {
    this.device = device;
    try {
      await this.listen();
    } catch (error) {
      // A socket that a process left behind when it was killed is in the way, but not one that somebody answers.
      if ((error as { code?: string }).code !== 'EADDRINUSE' || (await isAnswered(this.path)))
        throw new UsageError(`${this.option}: ${this.path}: ${reasonOf(error)}; choose another path`);
      rmSync(this.path, { force: true });
      await this.listen();
    }
  }

  close(): void {
    this.server?.close();
    for (const socket of this.sockets) socket.destroy();
  }

  connect(port: number, connection: VsockConnection): Promise<VsockPeer | undefined> {
    return new Promise((resolve) => {
      const socket = connect({ path: `${this.path}_${port}`, allowHalfOpen: true });
      this.keep(socket);
      socket.once('error', () => resolve(undefined));
      socket.once('connect', () => resolve(new SocketPeer(socket).attach(connection)));
    });
  }

  private keep(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
  }

  /** Reads the line `CONNECT PORT`. */
  private greet(socket: Socket): void {
    this.keep(socket);
    let text = Buffer.alloc(0);
    socket.on('error', () => {});
    const listen = (bytes: Buffer): void => {
      text = Buffer.concat([text, bytes]);
      const end = text.indexOf(10);
      if (end < 0 && text.length < GREETING_BYTES) return;
      socket.off('data', listen);
      const port = /^CONNECT (\d{1,10})\r?$/i.exec(text.subarray(0, Math.max(0, end)).toString('latin1'))?.[1];
      this.dial(socket, port, text.subarray(end + 1));
    };
    socket.on('data', listen);
  }

  private dial(socket: Socket, port: string | undefined, rest: Uint8Array): void {
    socket.pause();
    const peer = new SocketPeer(socket, ({ hostPort }) => {
      socket.write(`OK ${hostPort}\n`);
      socket.resume();
    });
    const connection = port === undefined || Number(port) > 0xffff_ffff ? undefined : this.device?.dial(Number(port), peer);
    if (connection === undefined) {
      socket.destroy();
      return;
    }
    peer.attach(connection);
    if (rest.length > 0) socket.unshift(rest);
    // Attaching a listener has set the socket going; nothing is to be read before the guest has answered.
    socket.pause();
  }

  private listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true }, (socket) => this.greet(socket));
      this.server = server;
      server.once('error', reject);
      server.listen(this.path, () => {
        // The machine is what keeps the process alive.
        server.unref();
        resolve();
      });
    });
  }
}

const isAnswered = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
