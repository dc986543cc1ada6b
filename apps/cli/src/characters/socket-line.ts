import type { Server, Socket } from 'node:net';
import { connect, listen } from '../migration/socket.js';
import type { SocketSpec } from '../options/character.js';
import type { CharacterLine } from './line.js';

/** Bytes on their way to a client that does not read; what comes beyond waits in the guest, or is lost. */
const OUTPUT_BYTES = 0x4_0000;
/** How long to wait, in ms, before a guest that took no more is asked again. */
const RETRY_MS = 20;

/** A character device on a socket: one client at a time, the last one who comes; without one, what is written is gone. */
export class SocketLine implements CharacterLine {
  onInput: ((bytes: Uint8Array) => number) | undefined;
  onRoom: (() => void) | undefined;
  private server: Server | undefined;
  private socket: Socket | undefined;
  private retry: NodeJS.Timeout | undefined;

  constructor(
    private readonly option: string,
    private readonly spec: SocketSpec,
  ) {}

  /** Listens, or connects; resolves when a client that is to be waited for is there. Rejects with `UsageError`. */
  async open(): Promise<void> {
    const { address, server, wait } = this.spec;
    if (!server) return this.plug(await connect(this.option, address));
    let arrived: () => void = () => {};
    const arrival = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    this.server = await listen(this.option, address, (socket) => {
      this.plug(socket);
      arrived();
    });
    if (wait) await arrival;
    // From now on the machine is what keeps the process alive.
    this.server.unref();
  }

  write(bytes: Uint8Array): boolean {
    const { socket } = this;
    if (!socket?.writable) return true;
    if (socket.writableLength > 4 * OUTPUT_BYTES) return false;
    socket.write(Uint8Array.from(bytes));
    return socket.writableLength < OUTPUT_BYTES;
  }

  close(): void {
    clearTimeout(this.retry);
    this.server?.close();
    this.socket?.end();
  }

  private plug(socket: Socket): void {
    this.socket?.destroy();
    this.socket = socket;
    socket.unref();
    socket.on('data', (bytes) => this.input(socket, bytes));
    socket.on('drain', () => this.onRoom?.());
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.onRoom?.();
    });
  }

  /** Gives bytes to the guest; those that it does not take hold the socket up. */
  private input(socket: Socket, bytes: Uint8Array): void {
    const taken = this.onInput?.(bytes) ?? bytes.length;
    if (taken >= bytes.length) {
      socket.resume();
      return;
    }
    socket.pause();
    const rest = bytes.subarray(taken);
    this.retry = setTimeout(() => this.input(socket, rest), RETRY_MS);
    this.retry.unref();
  }
}
