import { existsSync, rmSync } from 'node:fs';
import { connect as connectTo, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { UsageError } from '../errors.js';
import { reasonOf } from '../files.js';

/** Where a connection goes: QEMU's `tcp:HOST:PORT` and `unix:PATH`. */
export type SocketAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/** Parses `tcp:HOST:PORT` (an empty host is every address; one of IPv6 is in brackets) or `unix:PATH`; throws `UsageError`. */
export function parseAddress(option: string, text: string): SocketAddress {
  const unix = /^unix:(.+)$/.exec(text);
  if (unix) return { path: unix[1]! };
  const tcp = /^tcp:(?:\[([0-9a-f:.]+(?:%\w+)?)\]|([^[\]]*)):(\d+)$/i.exec(text);
  const port = Number(tcp?.[3]);
  if (!tcp || port > 65535) throw new UsageError(`${option} ${text}: write tcp:HOST:PORT or unix:PATH`);
  return { host: tcp[1] ?? tcp[2]!, port };
}

/** Text of an address, for messages. */
function formatAddress(address: SocketAddress): string {
  if ('path' in address) return `unix:${address.path}`;
  return `tcp:${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/** The host says EACCES where there is no folder for a socket, too. */
const reasonToListen = (error: Error, address: SocketAddress): string =>
  'path' in address && !existsSync(dirname(address.path)) ? `there is no folder ${dirname(address.path)}` : reasonOf(error);

/** Connects; throws `UsageError` with the reason. */
export function connect(option: string, address: SocketAddress): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = 'path' in address ? connectTo(address.path) : connectTo(address.port, address.host || 'localhost');
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) =>
      reject(
        new UsageError(
          `${option} ${formatAddress(address)}: ${(error as { code?: string }).code === 'ECONNREFUSED' ? 'connection refused' : reasonOf(error)}; is somebody listening there?`,
        ),
      ),
    );
  });
}

/** Listens; throws `UsageError` when the address is in use or not ours. */
export function listen(option: string, address: SocketAddress, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(onConnection);
    const fail = (error: Error): void =>
      reject(new UsageError(`${option} ${formatAddress(address)}: ${reasonToListen(error, address)}; choose another address`));
    const open = (): void => {
      if ('path' in address) server.listen(address.path);
      else server.listen(address.port, address.host || undefined);
    };
    server.once('listening', () => resolve(server));
    server.once('error', (error: NodeJS.ErrnoException) => {
      server.once('error', fail);
      if (!('path' in address) || error.code !== 'EADDRINUSE') return fail(error);
      // A process that was killed leaves the name of its socket behind.
      const probe = connectTo(address.path);
      probe.once('connect', () => (probe.destroy(), fail(error)));
      probe.once('error', ({ code }: NodeJS.ErrnoException) => {
        if (code !== 'ECONNREFUSED') return fail(error);
        rmSync(address.path, { force: true });
        open();
      });
    });
    open();
  });
}
