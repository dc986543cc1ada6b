import { connect as connectTo, createServer, type Server, type Socket } from 'node:net';
import type { Link } from '@nestvm/migration';
import { UsageError } from '../errors.js';

/** Where a connection goes: QEMU's `tcp:HOST:PORT` and `unix:PATH`. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Parses `tcp:HOST:PORT` (an empty host is every address) or `unix:PATH`; throws `UsageError`. */
export function parseAddress(option: string, text: string): SocketAddress {
  const unix = /^unix:(.+)$/.exec(text);
  if (unix) return { path: unix[1]! };
  const tcp = /^tcp:(.*):(\d+)$/.exec(text);
  const port = Number(tcp?.[2]);
  if (!tcp || port > 65535) throw new UsageError(`${option} ${text}: write tcp:HOST:PORT or unix:PATH`);
  return { host: tcp[1]!, port };
}

/** Text of an address, for messages. */
export const formatAddress = (address: SocketAddress): string => ('path' in address ? `unix:${address.path}` : `tcp:${address.host}:${address.port}`);

/** A socket as both directions of a migration. */
export function linkOf(socket: Socket): Link {
  const iterator: AsyncIterator<Buffer> = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest: Uint8Array = new Uint8Array(0);
  let broken: Error | undefined;
  socket.on('error', (error) => {
    broken = error;
  });
  return {
    sink: {
      write: (bytes) =>
        new Promise((resolve, reject) => {
          if (broken || socket.destroyed) return reject(broken ?? new Error('the connection is closed'));
          socket.write(bytes, (error) => (error ? reject(error) : resolve()));
        }),
    },
    source: {
      read: async (length) => {
        if (rest.length === 0) {
          const { value, done } = await iterator.next().catch(() => ({ value: undefined, done: true }));
          if (done || value === undefined) return new Uint8Array(0);
          rest = value;
        }
        const piece = rest.subarray(0, length);
        rest = rest.subarray(piece.length);
        return piece;
      },
    },
    close: () => socket.end(),
  };
}

/** Connects; throws `UsageError` with the reason. */
export function connect(option: string, address: SocketAddress): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = 'path' in address ? connectTo(address.path) : connectTo(address.port, address.host || 'localhost');
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) => reject(new UsageError(`${option} ${formatAddress(address)}: ${error.message}; is somebody listening there?`)));
  });
}

/** Listens; throws `UsageError` when the address is in use or not ours. */
export function listen(option: string, address: SocketAddress, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onConnection);
    server.once('error', (error) => reject(new UsageError(`${option} ${formatAddress(address)}: ${error.message}; choose another address`)));
    const ready = (): void => resolve(server);
    if ('path' in address) server.listen(address.path, ready);
    else server.listen(address.port, address.host || undefined, ready);
  });
}

/** Waits for one connection. */
export async function acceptOne(option: string, address: SocketAddress): Promise<Socket> {
  let take: (socket: Socket) => void = () => {};
  const arrived = new Promise<Socket>((resolve) => {
    take = resolve;
  });
  const server = await listen(option, address, (socket) => take(socket));
  const socket = await arrived;
  server.close();
  return socket;
}
