import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { WebSocketServer } from 'ws';
import { UsageError } from '../errors.js';
import { Intake } from './intake.js';
import { listen, type SocketAddress } from './socket.js';

/** Where a target listens: for its source, and for it again when a line breaks. */
export interface Door<T> {
  /** The next that comes. */
  next(): Promise<T>;
  close(): void;
}

/** Those that come, one for each who waits; of those that come too early the last one is kept. */
class Queue<T> {
  private early: T | undefined;
  private waiting: ((one: T) => void) | undefined;

  constructor(private readonly drop: (one: T) => void) {}

  put(one: T): void {
    if (this.waiting) {
      this.waiting(one);
      this.waiting = undefined;
      return;
    }
    this.clear();
    this.early = one;
  }

  next(): Promise<T> {
    const { early } = this;
    this.early = undefined;
    if (early !== undefined) return Promise.resolve(early);
    return new Promise((resolve) => {
      this.waiting = resolve;
    });
  }

  clear(): void {
    if (this.early !== undefined) this.drop(this.early);
    this.early = undefined;
  }
}

/** Listens at a socket; throws `UsageError` when the address is in use or not ours. `plain`: nobody else is to read what comes, so it may be read with less work. */
export async function openSocketDoor(option: string, address: SocketAddress, plain: boolean): Promise<Door<Socket | Intake>> {
  const socketOf = (one: Socket | Intake): Socket => (one instanceof Intake ? one.socket : one);
  const queue = new Queue<Socket | Intake>((one) => socketOf(one).destroy());
  const server = await listen(option, address, (accepted) => {
    const one = (plain ? Intake.of(accepted) : undefined) ?? accepted;
    socketOf(one).on('error', () => {});
    queue.put(one);
  });
  return {
    next: () => queue.next(),
    close: () => {
      queue.clear();
      server.close();
    },
  };
}

/** Listens for WebSockets; throws `UsageError`. */
export function openWebSocketDoor(option: string, { href, hostname, port }: URL): Promise<Door<WebSocket>> {
  const queue = new Queue<WebSocket>((socket) => socket.terminate());
  return new Promise((resolve, reject) => {
    const server = new WebSocketServer({ host: hostname, port: Number(port) || 80, perMessageDeflate: false });
    server.once('error', (error) => reject(new UsageError(`${option} ${href}: ${error.message}; choose another address`)));
    server.on('connection', (socket) => queue.put(socket));
    server.once('listening', () =>
      resolve({
        next: () => queue.next(),
        close: () => {
          queue.clear();
          server.close();
        },
      }),
    );
  });
}

/** What can be opened once only: a descriptor, a command. */
export function openOnce<T>(open: () => T): Door<T> {
  let opened = false;
  return {
    next: () => {
      if (opened) return new Promise(() => {});
      opened = true;
      return Promise.resolve().then(open);
    },
    close: () => {},
  };
}
