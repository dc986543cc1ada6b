import { connect, createServer, type Server, type Socket } from 'node:net';
import { NetworkError, SocketLink } from '@nestvm/networks';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';

/** All cables that were plugged in from here read into this, one after the other. */
const READ = Buffer.allocUnsafeSlow(0x4_0000);

/** Which end of a cable this is. */
export interface CableSpec {
  readonly kind: 'listen' | 'connect';
  readonly address: string;
  readonly port: number;
}

/** `-netdev socket`: a cable to another Nestvm or to QEMU. */
export class SocketCable extends SocketLink {
  private server: Server | undefined;

  constructor(
    private readonly option: string,
    private readonly spec: CableSpec,
  ) {
    super();
  }

  /** Listens, or connects; rejects with `UsageError`. */
  async open(): Promise<void> {
    const { kind, address, port } = this.spec;
    try {
      if (kind === 'connect') await this.connect();
      else await this.listen();
    } catch (error) {
      throw new UsageError(`${this.option}: ${address}:${port}: ${reasonOf(error)}`);
    }
  }

  override close(): void {
    super.close();
    this.server?.close();
  }

  /** The last one who comes has the other end. */
  private listen(): Promise<void> {
    const { address, port } = this.spec;
    return new Promise((resolve, reject) => {
      const server = createServer({ noDelay: true }, (socket) => {
        const plugged = this.plug(socket);
        socket.on('data', (bytes: Buffer) => plugged(bytes));
      });
      this.server = server;
      server.once('error', reject);
      server.listen(port, address, resolve);
    });
  }

  private connect(): Promise<void> {
    const { address, port } = this.spec;
    return new Promise((resolve, reject) => {
      let plugged: ((bytes: Uint8Array) => void) | undefined;
      const callback = (length: number): boolean => {
        plugged?.(READ.subarray(0, length));
        return true;
      };
      const socket = connect({ host: address, port, noDelay: true, onread: { buffer: READ, callback } }, () => {
        plugged = this.plug(socket);
        resolve();
      });
      socket.once('error', reject);
    });
  }

  /** Returns what takes the bytes that are read. */
  private plug(socket: Socket): (bytes: Uint8Array) => void {
    let here = true;
    this.attach({
      write: (bytes) => void socket.write(bytes),
      get waitingBytes() {
        return socket.writableLength;
      },
      close: () => {
        here = false;
        socket.destroy();
      },
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      if (here) this.detach();
    });
    return (bytes) => {
      try {
        if (here) this.take(bytes);
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        process.stderr.write(`nestvm: ${this.option}: ${error.message}\n`);
      }
    };
  }
}
