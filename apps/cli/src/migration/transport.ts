import { spawn } from 'node:child_process';
import { fstatSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { Duplex } from 'node:stream';
import { createWebSocketLink, type Link, type WebSocketLike } from '@nestvm/migration';
import { WebSocket } from 'ws';
import { UsageError } from '../errors.js';
import { type Door, openOnce, openSocketDoor, openWebSocketDoor } from './door.js';
import { Intake } from './intake.js';
import { patient } from './patience.js';
import { connect, parseAddress, type SocketAddress } from './socket.js';
import { linkOf, linkOfIntake } from './stream-link.js';
import { secureIncoming, secureOutgoing, type TlsCredentials } from './tls.js';

/** Where a migration goes to or comes from. */
export type Place =
  | { readonly kind: 'socket'; readonly address: SocketAddress }
  /** An open socket that this process was started with. */
  | { readonly kind: 'fd'; readonly fd: number }
  /** A command whose standard input and output are the line. */
  | { readonly kind: 'exec'; readonly command: string }
  | { readonly kind: 'websocket'; readonly url: URL };

const FORMS = 'tcp:HOST:PORT, unix:PATH, fd:N, exec:COMMAND, ws://HOST:PORT or file:F';

/** Parses the URI of a migration, but for `file:`; throws `UsageError`. */
export function parsePlace(option: string, text: string): Place {
  const exec = /^exec:\s*(.+)$/s.exec(text);
  if (exec) return { kind: 'exec', command: exec[1]! };
  const fd = /^fd:(\d+)$/.exec(text);
  if (fd) return { kind: 'fd', fd: Number(fd[1]) };
  if (/^wss?:/.test(text)) {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url?.protocol !== 'ws:' || url.hostname === '') throw new UsageError(`${option} ${text}: write ws://HOST:PORT`);
    return { kind: 'websocket', url };
  }
  if (/^(tcp|unix):/.test(text)) return { kind: 'socket', address: parseAddress(option, text) };
  throw new UsageError(`${option} ${text}: write ${FORMS}`);
}

/** How a line is to be. */
export interface LineOptions {
  readonly timeoutMs: () => number;
  readonly tls?: TlsCredentials | undefined;
  /** Name that the certificate of the target must have. */
  readonly hostname?: string;
  /** Aborted when nobody waits for the line any more that is being opened. */
  readonly ending?: AbortSignal;
}

function inherited<T>(option: string, fd: number, open: (options: SocketConstructorOpts) => T): T {
  try {
    if (!fstatSync(fd).isSocket()) throw new UsageError(`${option} fd:${fd}: it is no socket; both sides speak, so a file or a pipe will not do`);
    return open({ fd, readable: true, writable: true });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${option} fd:${fd}: this process has no such descriptor open`);
  }
}

function piped(command: string): Duplex {
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['pipe', 'pipe', 'inherit'] });
  return Duplex.from({ readable: child.stdout, writable: child.stdin });
}

/** A stream as a line that ends when nothing moves any more. */
function lineOn(one: Duplex | Intake, { timeoutMs }: LineOptions): Link {
  if (one instanceof Intake)
    return patient(
      linkOfIntake(one),
      timeoutMs,
      () => one.socket.destroy(),
      () => one.moved,
    );
  return patient(linkOf(one), timeoutMs, () => one.destroy());
}

const lineOnWebSocket = (socket: WebSocket, { timeoutMs }: LineOptions): Link =>
  patient(createWebSocketLink(socket as unknown as WebSocketLike), timeoutMs, () => socket.terminate());

function openWebSocket(option: string, { href }: URL, ending: AbortSignal | undefined): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(href, { perMessageDeflate: false });
    onAbort(ending, () => socket.terminate());
    socket.once('open', () => resolve(socket));
    socket.once('error', (error) => reject(new UsageError(`${option} ${href}: ${error.message}; is somebody listening there?`)));
  });
}

const onAbort = (signal: AbortSignal | undefined, end: () => void): void => signal?.addEventListener('abort', end, { once: true });

function withoutTls(option: string, { tls }: LineOptions): void {
  if (tls) throw new UsageError(`${option}: tls-creds is for tcp:, unix: and fd: only`);
}

/** Opens the line to the target; throws `UsageError` when there is none. */
export async function openLine(option: string, place: Place, options: LineOptions): Promise<Link> {
  if (place.kind === 'websocket' || place.kind === 'exec') withoutTls(option, options);
  if (place.kind === 'websocket') return lineOnWebSocket(await openWebSocket(option, place.url, options.ending), options);
  if (place.kind === 'exec') return lineOn(piped(place.command), options);
  const stream = place.kind === 'fd' ? inherited(option, place.fd, (own) => new Socket(own)) : await connect(option, place.address);
  onAbort(options.ending, () => stream.destroy());
  const host = place.kind === 'socket' && 'host' in place.address ? place.address.host || 'localhost' : 'localhost';
  return lineOn(options.tls ? await secureOutgoing(options.tls, stream, options.hostname || host) : stream, options);
}

const mapped = <T>(door: Door<T>, make: (one: T) => Link | Promise<Link>): Door<Link> => ({
  next: async () => make(await door.next()),
  close: () => door.close(),
});

/** Opens the door to the source; throws `UsageError` when it cannot come. */
export async function openDoor(option: string, place: Place, options: LineOptions): Promise<Door<Link>> {
  if (place.kind === 'websocket' || place.kind === 'exec') withoutTls(option, options);
  if (place.kind === 'websocket') return mapped(await openWebSocketDoor(option, place.url), (socket) => lineOnWebSocket(socket, options));
  if (place.kind === 'exec') return openOnce(() => lineOn(piped(place.command), options));
  const { tls } = options;
  const descriptor = (own: SocketConstructorOpts): Socket | Intake => (tls ? new Socket(own) : new Intake(own));
  const door =
    place.kind === 'fd' ? openOnce(() => inherited(option, place.fd, descriptor)) : await openSocketDoor(option, place.address, tls === undefined);
  return mapped(door, async (one) => lineOn(tls && !(one instanceof Intake) ? await secureIncoming(tls, one) : one, options));
}
